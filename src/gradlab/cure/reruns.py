"""Reruns: trains a run with a remedy and a seed, in memory and in stacks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from gradlab.config.interrupt import described
from gradlab.config.settings import Settings, check_data
from gradlab.cure.examined_run import DIVERGED, diagnose_rows, kinds, severity
from gradlab.cure.remedies import Remedy
from gradlab.data.dataset import Dataset, load
from gradlab.diagnosis.grid import Grid, gained
from gradlab.errors import GradlabError, JobError
from gradlab.recording.rows import Outcome, Rows
from gradlab.report.reduce import layer_means
from gradlab.results.nullable import values_and_mask
from gradlab.runs.members import Member, train_together
from gradlab.sinks.memory import Memory
from gradlab.training.plan import plan_stacks

FAILED = DIVERGED + 1


@dataclass(frozen=True)
class Candidate:
    """A remedy and a seed to train.

    Attributes:
        remedy: the remedy.
        settings: the run's settings with the remedy and the seed.
        unit: its `loss.scale` over the run's. Losses are divided by it before a comparison.
    """

    remedy: Remedy
    settings: Settings
    unit: float = 1.0


@dataclass(frozen=True)
class RerunResult:
    """The result of one remedy and one seed. Losses have the scale of the unchanged run.

    Attributes:
        remedy: the remedy.
        seed: the seed.
        kinds: kinds of its pathologies, most severe first; empty if healthy.
        severity: 0 healthy, 1 mild, 2 severe, 3 diverged, 4 failed.
        losses: training loss of each step.
        decades: log10 of ‖delta_1‖ / ‖delta_L‖, median over the recorded steps.
        profile: a row per layer, means of log10 over the recorded steps (`layer_means`).
        test: loss and accuracy on the test set, as in `run.json`.
        zero_loss: the loss of an output of zeros: of a network that has learnt nothing.
        error: why the training failed, in one line.
    """

    remedy: Remedy
    seed: int
    kinds: tuple[str, ...] = ()
    severity: int = 0
    losses: Sequence[float] = ()
    decades: float = math.nan
    profile: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    test: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    zero_loss: float = math.inf
    error: str | None = None


def failed(candidate: Candidate, error: str) -> RerunResult:
    """Return the result of a candidate that could not be trained."""
    seed = candidate.settings.seed
    return RerunResult(candidate.remedy, seed, ("failed",), FAILED, error=error)


def group_by_stack(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the candidates of each stack."""
    groups = plan_stacks([each.settings for each in candidates])
    return [[candidates[index] for index in group] for group in groups]


def train(candidates: Sequence[Candidate], stop: Callable[[], bool]) -> list[RerunResult]:
    """Train candidates in one stack; a failure of one does not affect another.

    Returns:
        The result of each; empty if `stop` ended the training early.
    """
    first = candidates[0].settings
    try:
        dataset = load(first)
        check_data(first, len(dataset.x_train), dataset.task)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        line = str(error) if isinstance(error, GradlabError) else described(error)
        return [failed(each, line) for each in candidates]
    reruns = [Rerun(each) for each in candidates]
    train_together(reruns, dataset, stop)
    results = [
        each.result if each.error is None else failed(candidate, str(each.error))
        for each, candidate in zip(reruns, candidates, strict=True)
    ]
    complete = [result for result in results if result is not None]
    return complete if len(complete) == len(results) else []


class Rerun(Member):
    """Trains one candidate in memory.

    Attributes:
        result: the result; None before the end, or if the training was interrupted.
    """

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate.settings, Path())
        self._candidate = candidate
        self.reset()

    def open(self, dataset: Dataset, members: int) -> None:
        """Compute the loss of an output of zeros."""
        self._zero_loss = _zero_loss(self.settings, dataset)

    def record(self, rows: Rows) -> None:
        """Store rows in memory."""
        self._memory.write(rows)

    def complete(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Diagnose the run and set `result`, unless it was interrupted."""
        if outcome.status == "interrupted":
            return
        layers, steps = self._memory.layers(), self._memory.steps()
        findings = diagnose_rows(layers, steps, self.settings.flat)
        diverged = outcome.status == "diverged"
        profile, unit = layer_means(layers), self._candidate.unit
        self.result = RerunResult(
            self._candidate.remedy,
            self.settings.seed,
            kinds(findings, diverged),
            severity(findings, diverged),
            (values_and_mask(steps, "loss")[0] / unit).tolist(),
            gained(Grid(layers)),
            profile.assign(delta_norm=profile["delta_norm"] - math.log10(unit)),
            {**test, "loss": None if test["loss"] is None else test["loss"] / unit},
            self._zero_loss / unit,
        )

    def abort(self, status: str, error: str | None = None) -> None:
        """Do nothing: a rerun writes no files."""

    def close(self) -> None:
        """Do nothing: a rerun writes no files."""

    def reset(self) -> None:
        """Remove everything that was recorded."""
        self.error = None
        self.result: RerunResult | None = None
        self._memory, self._zero_loss = Memory(), math.inf

    def as_gradlab_error(self, error: BaseException) -> GradlabError:
        """Return the error in one line, without its traceback."""
        return JobError(described(error))


def _zero_loss(settings: Settings, dataset: Dataset) -> float:
    zeros = torch.zeros(len(dataset.y_train), dataset.n_out, dtype=torch.float64)
    return float(settings.loss.component.call(zeros, dataset.y_train)) * settings.loss.scale
