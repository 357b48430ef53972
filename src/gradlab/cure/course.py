"""A course of treatment: the run as it is, its remedies, and if none cures it, pairs of them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradlab.config.settings import Settings
from gradlab.cure import judge
from gradlab.cure.overrides import replaced
from gradlab.cure.pairs import pairs
from gradlab.cure.patient import Patient
from gradlab.cure.ranking import Rank, rank
from gradlab.cure.remedies import UNCHANGED, Remedy, propose
from gradlab.cure.trial import FAILED, Trial
from gradlab.cure.trials import Trials
from gradlab.diagnosis.finding import Finding
from gradlab.errors import JobError, StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """What was tried on a run, and what came of it.

    Attributes:
        overrides: of the run, tracking included, as its user typed them.
        findings: of the run as it is on disk.
        waiting: how many trials an interrupt has kept from being made.
    """

    patient: Patient
    settings: Settings
    overrides: list[str]
    findings: Sequence[Finding]
    base: Rank
    ranks: list[Rank]
    trials: list[Trial]
    waiting: int = 0

    @property
    def best(self) -> Rank | None:
        """The first that cures, or else helps; None if nothing does either."""
        return next((each for each in self.ranks if each.verdict in ("cures", "helps")), None)

    def pasted(self, remedy: Remedy) -> list[str]:
        """Return the overrides of the run with a remedy in place of what it contradicts."""
        return replaced(self.overrides, remedy.overrides, self.patient.own)


def diagnosed(patient: Patient) -> Sequence[Finding]:
    """Return the findings of the run on disk, all that were there when it ended.

    Raises:
        StoreError: it recorded nothing, or its files cannot be read.
    """
    run = patient.run
    layers, steps = run.layers(), run.steps()
    if layers.empty:
        raise StoreError(f"{run.path} recorded nothing: there is no finding to cure")
    return judge.findings(layers, steps, run.config, run.info.get("data"))


def is_sick(patient: Patient, findings: Sequence[Finding]) -> bool:
    """Say whether there is anything to cure."""
    return bool(judge.kinds(findings, patient.run.info["status"] == "diverged"))


def course(
    trials: Trials,
    findings: Sequence[Finding],
    remedies: Sequence[Remedy],
    stop: Callable[[], bool],
) -> Course | None:
    """Try the remedies, and then pairs if none cures and they were not the user's own choice.

    None if it was stopped before there was anything to compare with.

    Raises:
        JobError: the run itself, unchanged, could not be trained.
    """
    trials.treat([UNCHANGED, *remedies], stop)
    if not any(trial.remedy == UNCHANGED for trial in trials.made):
        return None
    base, ranks = rank(trials.made, UNCHANGED)
    if base.gravity == FAILED:
        raise JobError(f"the run itself could not be trained again: {base.error}")
    cured = any(each.verdict == "cures" for each in ranks)
    asked = trials.options["remedies"] is not None
    second = [] if cured or asked or stop() else pairs(ranks, base, trials.settings.flat)
    if second:
        log.info("no remedy cures it alone: pairs of the best")
        trials.treat(second, stop)
        base, ranks = rank(trials.made, UNCHANGED)
    parts = trials.patient, trials.settings, trials.overrides, findings
    return Course(*parts, base, ranks, trials.made, trials.waiting)


def chosen(trials: Trials, findings: Sequence[Finding]) -> list[Remedy]:
    """Return the remedies to try: the user's own, or those that the findings propose.

    Raises:
        SettingsError: one of the user's own cannot be had.
    """
    asked = trials.options["remedies"]
    if asked is None:
        diverged = trials.patient.run.info["status"] == "diverged"
        return propose(findings, diverged, trials.settings.flat)
    remedies = [Remedy(tuple(each.split()), "asked for") for each in dict.fromkeys(asked)]
    for remedy in remedies:
        trials.settings_of(remedy)
    return remedies
