"""Trains the run with each remedy: in the stacks, and with the trainer, of a sweep."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from gradlab.config.interrupt import described
from gradlab.config.settings import Settings, check_data
from gradlab.cure import judge
from gradlab.cure.trial import Candidate, Trial, failed
from gradlab.data.dataset import Dataset, load
from gradlab.diagnosis.grid import Grid, gained
from gradlab.errors import GradlabError, JobError
from gradlab.recording.rows import Outcome, Rows
from gradlab.report.reduce import layer_means
from gradlab.runs.members import Member, train_together
from gradlab.sinks.memory import Memory
from gradlab.training.plan import stacks


def group(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the candidates of each stack."""
    parts = stacks([each.settings for each in candidates])
    return [[candidates[index] for index in part] for part in parts]


def train(candidates: Sequence[Candidate], stop: Callable[[], bool]) -> list[Trial]:
    """Train candidates in one stack; a failure of one does not affect another.

    Returns:
        The result of each; none if `stop` ended the training early.
    """
    first = candidates[0].settings
    try:
        dataset = load(first)
        check_data(first, len(dataset.x_train), dataset.task)
    except (Exception, SystemExit) as error:  # of the user's own code, too
        line = str(error) if isinstance(error, GradlabError) else described(error)
        return [failed(each, line) for each in candidates]
    reruns = [Rerun(each) for each in candidates]
    train_together(reruns, dataset, stop)
    results = [
        each.result if each.error is None else failed(candidate, str(each.error))
        for each, candidate in zip(reruns, candidates, strict=True)
    ]
    found = [result for result in results if result is not None]
    return found if len(found) == len(results) else []


class Rerun(Member):
    """Trains one candidate in memory.

    Attributes:
        result: what became of it; None before its end, or if it was interrupted.
    """

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate.settings, Path())
        self._candidate = candidate
        self.discard()

    def begin(self, dataset: Dataset, members: int) -> None:
        """Compute the loss of a network that knows nothing."""
        self._blind = _blind(self.settings, dataset)

    def take(self, rows: Rows) -> None:
        """Collect some steps."""
        self._memory.write(rows)

    def conclude(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Diagnose the run, with losses in the unit of the unchanged run."""
        if outcome.status == "interrupted":
            return
        layers, steps = self._memory.layers(), self._memory.steps()
        found = judge.findings(layers, steps, self.settings.flat)
        diverged = outcome.status == "diverged"
        profile, unit = layer_means(layers), self._candidate.unit
        self.result = Trial(
            self._candidate.remedy,
            self.settings.seed,
            judge.kinds(found, diverged),
            judge.gravity(found, diverged),
            (steps["loss"] / unit).tolist(),
            gained(Grid(layers)),
            profile.assign(delta_norm=profile["delta_norm"] - math.log10(unit)),
            None if test["loss"] is None else test["loss"] / unit,
            test["accuracy"],
            self._blind / unit,
        )

    def stop(self, status: str, error: str | None = None) -> None:
        """Do nothing: there are no files."""

    def end(self) -> None:
        """Do nothing: there are no files."""

    def discard(self) -> None:
        """Forget everything that was recorded."""
        self.error = None
        self.result: Trial | None = None
        self._memory, self._blind = Memory(), math.inf

    def as_error(self, error: BaseException) -> GradlabError:
        """Return the error in one line; there is no folder for its traceback."""
        return JobError(described(error))


def _blind(settings: Settings, dataset: Dataset) -> float:
    zeros = torch.zeros(len(dataset.y_train), dataset.n_out, dtype=torch.float64)
    return float(settings.loss.component.call(zeros, dataset.y_train)) * settings.loss.scale
