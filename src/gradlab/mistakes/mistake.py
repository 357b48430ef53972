"""A mistake of the catalogue: two forms of a practice, one measure of both, and the proof."""

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from inspect import getsource
from math import inf
from textwrap import dedent
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.gradcheck.problem import one_thread

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


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Draw from torch's generator as if it had this seed, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


Lines = list[tuple[str, bool]]


def differing_lines(mistake: Mistake) -> tuple[Lines, Lines]:
    """Return the lines of the broken and of the fixed form, and whether each is only in that one.

    The first line of each, which only names it, counts as the same.
    """
    broken, fixed = (dedent(getsource(each)).splitlines() for each in mistake.code)
    blocks = SequenceMatcher(None, broken[1:], fixed[1:], autojunk=False).get_matching_blocks()
    same = [(a + i, b + i) for a, b, size in blocks for i in range(size)]
    return _mark_lines(broken, {a for a, _ in same}), _mark_lines(fixed, {b for _, b in same})


def _mark_lines(lines: list[str], same: set[int]) -> Lines:
    head, *body = lines
    return [(head, False), *((line, i not in same) for i, line in enumerate(body))]


@dataclass(frozen=True)
class Proof:
    """What was measured of both forms."""

    mistake: Mistake
    broken: Symptom
    fixed: Symptom

    @property
    def holds(self) -> bool:
        """Whether the fixed form is within the bound, and the broken one is not."""
        return self.mistake.holds(self.fixed) and not self.mistake.holds(self.broken)

    @property
    def verdict(self) -> str:
        """Whether it holds, in words."""
        return "holds" if self.holds else "does not hold"

    @property
    def sound(self) -> str:
        """What a sound practice meets."""
        return f"{self.mistake.holds}{self.fixed.unit}"

    @property
    def happens(self) -> str:
        """What was measured of the broken form."""
        return f"{self.broken.name}: {self.broken}; sound is {self.sound}"

    @property
    def summary(self) -> str:
        """The proof in a sentence."""
        both = f"{self.broken} broken, {self.fixed} fixed"
        return f"{both}; sound is {self.sound}: the proof {self.verdict}"


def prove(mistake: Mistake, seed: int = 0) -> Proof:
    """Run both forms of a mistake; torch's generator is left as it was."""
    return Proof(
        mistake, *(_measure(mistake, form, seed) for form in (mistake.broken, mistake.fixed))
    )


def _measure(mistake: Mistake, form: Builder, seed: int) -> Symptom:
    with seeded(seed), one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of some mistakes: it is their number we want
        return mistake.symptom(form(seed))
