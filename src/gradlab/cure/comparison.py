"""Trains a run unchanged and with each remedy, then with pairs, and compares the results."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradlab.config.compose import compose
from gradlab.config.settings import Settings
from gradlab.cure.examined_run import (
    ExaminedRun,
    replace_overrides,
    search_path_override,
    without_group,
)
from gradlab.cure.ranking import RankedRemedy, pair_remedies, rank
from gradlab.cure.remedies import UNCHANGED, Remedy, propose
from gradlab.cure.reruns import FAILED, Candidate, RerunResult, failed, group_by_stack, train
from gradlab.diagnosis.finding import Finding
from gradlab.errors import JobError, SettingsError
from gradlab.pages.numbers import count

log = logging.getLogger(__name__)


class RemedyTrainer:
    """Trains a run with remedies and collects the results.

    Args:
        run: the run.
        overrides: the overrides of every rerun, also of the unchanged one.
        options: the section `cure` of the configuration.

    Attributes:
        overrides: the overrides of the unchanged rerun, with its tracking.
        settings: the settings of the unchanged rerun.
        results: the results so far.
        not_trained: the number of candidates that an interrupt prevented.

    Raises:
        SettingsError: the run's overrides no longer give its configuration.
    """

    def __init__(self, run: ExaminedRun, overrides: Sequence[str], options: dict[str, Any]) -> None:
        self.run, self.options = run, options
        self.overrides = replace_overrides(run.overrides, overrides, run.user_folders)
        untracked = replace_overrides(without_group(run.overrides, "tracking"), ["tracking=none"])
        _check_unchanged(self._compose(untracked), run)
        number = options["steps"] or _interrupted_at(run)
        steps = [f"train.steps={number}"] if number else []
        new = [*without_group(overrides, "tracking"), *steps]
        self._base = replace_overrides(untracked, new, run.user_folders)
        self.settings = self._compose(self._base)
        self.results: list[RerunResult] = []
        self.not_trained = 0

    def choose_remedies(self, findings: Sequence[Finding]) -> list[Remedy]:
        """Return the remedies that the user requested, or that the findings propose.

        Raises:
            SettingsError: a requested remedy is not valid.
        """
        requested = self.options["remedies"]
        if requested is None:
            return propose(findings, self.run.diverged, self.settings.flat)
        remedies = [Remedy(tuple(each.split()), "requested") for each in dict.fromkeys(requested)]
        for remedy in remedies:
            self.settings_of(remedy)
        return remedies

    def settings_of(self, remedy: Remedy) -> Settings:
        """Return the settings of the run with a remedy.

        Raises:
            SettingsError: they are not valid, or the data or the loss differ from the run's.
        """
        overrides = replace_overrides(self._base, remedy.overrides, self.run.user_folders)
        settings = self._compose(overrides)
        same_data = settings.data == self.settings.data
        if not same_data or settings.loss.component != self.settings.loss.component:
            raise SettingsError(
                f"{remedy.name} changes the data or the loss: expected the run's, to compare"
            )
        return settings

    def train(self, remedies: Sequence[Remedy], stop: Callable[[], bool]) -> None:
        """Train every remedy with every seed, until `stop` returns True."""
        stacks = group_by_stack([each for r in remedies for each in self._candidates(r)])
        for number, stack in enumerate(stacks, 1):
            if stop():
                self.not_trained += len(stack)
                continue
            names = list(dict.fromkeys(each.remedy.name for each in stack))
            text = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            networks = count(len(stack), "network")
            log.info("stack %d of %d, %s: %s", number, len(stacks), networks, text)
            results = train(stack, stop)
            self.results += results
            self.not_trained += len(stack) - len(results)

    def _candidates(self, remedy: Remedy) -> list[Candidate]:
        """Return a candidate per seed; empty, with a failed result each, if it is not valid."""
        seeds = [(self.settings.seed + i) % 2**31 for i in range(self.options["seeds"])]
        try:
            settings, error = self.settings_of(remedy), None
        except SettingsError as invalid:
            settings, error = self.settings, str(invalid)
        unit = settings.loss.scale / self.settings.loss.scale
        candidates = [
            Candidate(remedy, replace(settings, seed=s, flat={**settings.flat, "seed": s}), unit)
            for s in seeds
        ]
        if error is None:
            return candidates
        self.results += [failed(each, error) for each in candidates]
        return []

    def _compose(self, overrides: Sequence[str]) -> Settings:
        return compose("config", [*search_path_override(self.run.search_path), *overrides])[0]


@dataclass(frozen=True)
class Comparison:
    """The unchanged run and its remedies, ranked.

    Attributes:
        run: the run.
        settings: the settings of the unchanged rerun.
        overrides: its overrides, as the user typed them.
        findings: the findings of the run on disk.
        base: the unchanged rerun.
        ranked: the remedies, best first.
        not_trained: the number of planned reruns that an interrupt prevented.
    """

    run: ExaminedRun
    settings: Settings
    overrides: list[str]
    findings: Sequence[Finding]
    base: RankedRemedy
    ranked: list[RankedRemedy]
    not_trained: int = 0

    @property
    def best(self) -> RankedRemedy | None:
        """The first remedy that works, else the first that helps, else None."""
        return next((each for each in self.ranked if each.verdict in ("works", "helps")), None)

    def overrides_with(self, remedy: Remedy) -> list[str]:
        """Return the overrides of the run with a remedy."""
        return replace_overrides(self.overrides, remedy.overrides, self.run.user_folders)


def compare(
    trainer: RemedyTrainer,
    findings: Sequence[Finding],
    remedies: Sequence[Remedy],
    stop: Callable[[], bool],
) -> Comparison | None:
    """Train the unchanged run and each remedy; then pairs, if no proposed remedy works.

    Args:
        trainer: trains the run.
        findings: of the run on disk.
        remedies: the remedies to try.
        stop: called between training steps; True ends the training.

    Returns:
        The comparison; None if the training ended before the unchanged run was trained.

    Raises:
        JobError: the unchanged run could not be trained.
    """
    trainer.train([UNCHANGED, *remedies], stop)
    if not any(result.remedy == UNCHANGED for result in trainer.results):
        return None
    base, ranked = rank(trainer.results, UNCHANGED)
    if base.severity == FAILED:
        raise JobError(f"the unchanged run could not be trained again: {base.error}")
    works = any(each.verdict == "works" for each in ranked)
    if not (works or trainer.options["remedies"] is not None or stop()):
        pairs = pair_remedies(ranked, base, trainer.settings.flat)
        if pairs:
            log.info("no single remedy works: training pairs of the best")
            trainer.train(pairs, stop)
            base, ranked = rank(trainer.results, UNCHANGED)
    parts = trainer.run, trainer.settings, trainer.overrides, findings
    return Comparison(*parts, base, ranked, trainer.not_trained)


def _check_unchanged(settings: Settings, run: ExaminedRun) -> None:
    """Raise SettingsError if the run's overrides give another configuration than at its time."""
    for key, then in run.files.config.items():
        now = settings.flat.get(key)
        if now != then and not key.startswith("tracking"):
            raise SettingsError(
                f"{run.files.path} ran with {key}={then}, but its overrides now lead to "
                f"{key}={now}: repeat the run"
            )


def _interrupted_at(run: ExaminedRun) -> int | None:
    """Return the number of steps of an interrupted run; None if the run ended by itself."""
    if run.status not in ("running", "interrupted"):
        return None
    return len(run.files.steps(["step"])) or None
