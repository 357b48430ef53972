"""What a mistake of the catalogue consists of: two forms of a practice, and one measure of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

Step = Callable[[Any, Optimizer, Any], Tensor | None]


@dataclass(frozen=True)
class Practice:
    """Training code as people write it.

    Attributes:
        step: one update, called as step(model, optimizer, batch); returns the loss if it likes.
        model: what is trained.
        optimizer: what moves it.
        batches: what `step` is given, one after another, over and over.
    """

    step: Step
    model: nn.Module
    optimizer: Optimizer
    batches: Sequence[Any]


class Builder(Protocol):
    """Makes a practice; the same seed makes the same one, and torch's generator is left alone."""

    def __call__(self, seed: int = 0) -> Practice:
        """Return a fresh practice."""
        ...


@dataclass(frozen=True)
class Symptom:
    """One number that was measured while a practice trained."""

    name: str
    value: float
    unit: Literal["", "%"] = ""

    def __str__(self) -> str:
        return f"{self.value:.3g}{self.unit}"


@dataclass(frozen=True)
class Bound:
    """What a sound practice meets: low <= value <= high. NaN does not meet it."""

    low: float = -inf
    high: float = inf

    def __call__(self, symptom: Symptom) -> bool:
        """Say whether a symptom is within the bound."""
        return self.low <= symptom.value <= self.high

    def __str__(self) -> str:
        if self.low == -inf:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high == inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Mistake:
    """A mistake, why it matters, the fix, and the proof: broken and fixed, by one measure.

    Attributes:
        name: its file's name.
        title: what people write, in a few words.
        why: what goes wrong, and through what.
        fix: what to write instead.
        broken: makes the practice with the mistake.
        fixed: makes the same practice without it.
        symptom: trains a practice and measures it.
        holds: what the symptom of the fixed practice meets, and that of the broken one does not.
        code: the two functions or classes that differ, broken first: what is shown is what runs.
        source: where people meet it.
    """

    name: str
    title: str
    why: str
    fix: str
    broken: Builder
    fixed: Builder
    symptom: Callable[[Practice], Symptom]
    holds: Bound
    code: tuple[Any, Any]
    source: str
