"""The trials of one run: composed as its user would type them, trained, and kept."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradlab.config.compose import compose
from gradlab.config.settings import Settings
from gradlab.cure.overrides import replaced, searching, without
from gradlab.cure.patient import Patient
from gradlab.cure.remedies import Remedy
from gradlab.cure.stacks import group, train
from gradlab.cure.trial import Candidate, Trial, failed
from gradlab.errors import SettingsError
from gradlab.pages.numbers import count

log = logging.getLogger(__name__)


class Trials:
    """Composes and trains trials of one run, and keeps them."""

    def __init__(self, patient: Patient, given: Sequence[str], options: dict[str, Any]) -> None:
        """Compose the run anew.

        Args:
            patient: the run.
            given: overrides of every trial, the unchanged run included.
            options: the section `cure` of the configuration.

        Raises:
            SettingsError: the run cannot be composed as it was.
        """
        self.patient, self.options = patient, options
        self.overrides = replaced(patient.overrides, given, patient.own)
        own = replaced(without(patient.overrides, "tracking"), ["tracking=none"])
        _same(self._compose(own), patient)
        made = options["steps"] or _made(patient)
        steps = [f"train.steps={made}"] if made else []
        self._base = replaced(own, [*without(given, "tracking"), *steps], patient.own)
        self.settings = self._compose(self._base)
        self.made: list[Trial] = []
        self.waiting = 0

    def settings_of(self, remedy: Remedy) -> Settings:
        """Return the settings of the run with a remedy.

        Raises:
            SettingsError: there are none, or what they minimise is not what the run minimises.
        """
        settings = self._compose(replaced(self._base, remedy.overrides, self.patient.own))
        same = settings.data == self.settings.data
        if not same or settings.loss.component != self.settings.loss.component:
            raise SettingsError(f"{remedy.name}: expected the run's own data and loss, to compare")
        return settings

    def treat(self, remedies: Sequence[Remedy], stop: Callable[[], bool]) -> None:
        """Train every remedy with every seed, unless `stop` says so first."""
        groups = group([each for remedy in remedies for each in self._members(remedy)])
        for number, part in enumerate(groups, 1):
            if stop():
                self.waiting += len(part)
                continue
            names = list(dict.fromkeys(each.remedy.name for each in part))
            told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            log.info(
                "stack %d of %d, %s: %s", number, len(groups), count(len(part), "network"), told
            )
            done = train(part, stop)
            self.made += done
            self.waiting += len(part) - len(done)

    def _members(self, remedy: Remedy) -> list[Candidate]:
        seeds = [(self.settings.seed + i) % 2**31 for i in range(self.options["seeds"])]
        try:
            settings, error = self.settings_of(remedy), None
        except SettingsError as wrong:
            settings, error = self.settings, str(wrong)
        unit = settings.loss.scale / self.settings.loss.scale
        members = [
            Candidate(remedy, replace(settings, seed=s, flat={**settings.flat, "seed": s}), unit)
            for s in seeds
        ]
        if error is None:
            return members
        self.made += [failed(each, error) for each in members]
        return []

    def _compose(self, overrides: Sequence[str]) -> Settings:
        return compose("config", [*searching(self.patient.searched), *overrides])[0]


def _same(settings: Settings, patient: Patient) -> None:
    """Raise SettingsError if a run is composed otherwise today than when it ran."""
    for key, then in patient.run.config.items():
        now = settings.flat.get(key)
        if now != then and not key.startswith("tracking"):
            raise SettingsError(
                f"{patient.run.path} ran with {key}={then}, but its overrides now lead to "
                f"{key}={now}: run it anew"
            )


def _made(patient: Patient) -> int | None:
    """Return how many steps a run made that was cut short; None of one that ended by itself."""
    if patient.run.info["status"] not in ("running", "interrupted"):
        return None
    return len(patient.run.steps(["step"])) or None
