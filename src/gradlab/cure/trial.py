"""A trial: one remedy, one seed, and what came of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from gradlab.config.settings import Settings
from gradlab.cure.judge import DIVERGED
from gradlab.cure.remedies import Remedy


@dataclass(frozen=True)
class Candidate:
    """A remedy and the settings that it leads to, seed included.

    `unit` is its `loss.scale` over that of the run: what its loss is divided by, to compare.
    """

    remedy: Remedy
    settings: Settings
    unit: float = 1.0


@dataclass(frozen=True)
class Trial:
    """What came of one remedy and one seed.

    Attributes:
        kinds: what is wrong with it, gravest first; empty if it is healthy.
        gravity: 0 healthy, 1 mild, 2 gross, 3 diverged, 4 failed.
        losses: of the training batches, one a step, in the run's own scale, as all that follows.
        decades: log10 ‖delta_1‖ / ‖delta_L‖, median over the recorded steps.
        profile: a row per layer, means of log10 over the recorded steps (`layer_means`).
        blind: the loss of an output of zeros: of a network that knows nothing.
        error: why it could not be trained, in one line.
    """

    remedy: Remedy
    seed: int
    kinds: tuple[str, ...] = ()
    gravity: int = 0
    losses: Sequence[float] = ()
    decades: float = math.nan
    profile: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    test_loss: float | None = None
    test_accuracy: float | None = None
    blind: float = math.inf
    error: str | None = None


FAILED = DIVERGED + 1


def failed(member: Candidate, error: str) -> Trial:
    """Return the trial of a member that could not be trained."""
    return Trial(member.remedy, member.settings.seed, ("failed",), FAILED, error=error)
