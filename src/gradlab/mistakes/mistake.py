"""A mistake of the catalogue: its broken and fixed programs, and the measurement of both."""

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
class Program:
    """A training program.

    Attributes:
        step: makes one update, called as step(model, optimizer, batch); may return the loss.
        model: the network.
        optimizer: the optimiser of its weights.
        batches: the batches; after the last batch, training continues with the first.
    """

    step: Step
    model: nn.Module
    optimizer: Optimizer
    batches: Sequence[Any]


class Builder(Protocol):
    """Builds a program; equal seeds build equal programs, and torch's generator is unchanged."""

    def __call__(self, seed: int = 0) -> Program:
        """Return a new program."""
        ...


@dataclass(frozen=True)
class Symptom:
    """One number, measured while a program trains.

    Attributes:
        name: the quantity, in words.
        value: the number.
        unit: "%" or empty.
    """

    name: str
    value: float
    unit: Literal["", "%"] = ""

    def __str__(self) -> str:
        return f"{self.value:.3g}{self.unit}"


@dataclass(frozen=True)
class Bound:
    """The values of a correct program: low <= value <= high. NaN is outside."""

    low: float = -inf
    high: float = inf

    def contains(self, symptom: Symptom) -> bool:
        """Return whether a symptom is within the bound."""
        return self.low <= symptom.value <= self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        if self.low == -inf:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high == inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Mistake:
    """A mistake with its explanation, its fix, and a broken and a fixed program.

    Attributes:
        name: the name of its file.
        title: the mistake in a few words.
        why: the effect of the mistake and its cause.
        fix: the correct code, in words.
        broken: builds the program with the mistake.
        fixed: builds the same program without it.
        symptom: trains a program and measures the symptom.
        bound: the values of correct programs; the symptom of the broken program is outside.
        code: the two functions or classes that differ, broken first; the pages show this code.
        source: a link to documentation, or a paper.
    """

    name: str
    title: str
    why: str
    fix: str
    broken: Builder
    fixed: Builder
    symptom: Callable[[Program], Symptom]
    bound: Bound
    code: tuple[Any, Any]
    source: str


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Seed torch's generator, and restore its state at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


MarkedLines = list[tuple[str, bool]]
"""Lines of code, each with True if the other form does not contain it."""


def differing_lines(mistake: Mistake) -> tuple[MarkedLines, MarkedLines]:
    """Return the code of the broken and of the fixed form, with marks on the lines that differ.

    The first lines differ only in the name of the function, and are not marked.
    """
    broken, fixed = (dedent(getsource(each)).splitlines() for each in mistake.code)
    blocks = SequenceMatcher(None, broken[1:], fixed[1:], autojunk=False).get_matching_blocks()
    same = [(a + i, b + i) for a, b, size in blocks for i in range(size)]
    return _mark_lines(broken, {a for a, _ in same}), _mark_lines(fixed, {b for _, b in same})


def _mark_lines(lines: list[str], same: set[int]) -> MarkedLines:
    head, *body = lines
    return [(head, False), *((line, i not in same) for i, line in enumerate(body))]


@dataclass(frozen=True)
class Proof:
    """The measurements of both forms.

    Attributes:
        mistake: the mistake.
        broken: the symptom of the broken form.
        fixed: the symptom of the fixed form.
    """

    mistake: Mistake
    broken: Symptom
    fixed: Symptom

    @property
    def holds(self) -> bool:
        """Whether the fixed form is within the bound, and the broken form is not."""
        bound = self.mistake.bound
        return bound.contains(self.fixed) and not bound.contains(self.broken)

    @property
    def verdict(self) -> str:
        """Whether the proof holds, in words."""
        return "holds" if self.holds else "does not hold"

    @property
    def expected(self) -> str:
        """The bound of correct programs, in words."""
        return f"{self.mistake.bound}{self.fixed.unit}"

    @property
    def effect(self) -> str:
        """The symptom of the broken form, in words."""
        return f"{self.broken.name}: {self.broken}; expected {self.expected}"

    @property
    def summary(self) -> str:
        """The proof in one sentence."""
        both = f"{self.broken} broken, {self.fixed} fixed"
        return f"{both}; expected {self.expected}: the proof {self.verdict}"


def prove(mistake: Mistake, seed: int = 0) -> Proof:
    """Measure both forms of a mistake; torch's generator is unchanged."""
    return Proof(
        mistake, *(_measure(mistake, form, seed) for form in (mistake.broken, mistake.fixed))
    )


def _measure(mistake: Mistake, form: Builder, seed: int) -> Symptom:
    """Return the symptom of one form of a mistake.

    Args:
        mistake: the mistake.
        form: builds the broken or the fixed program.
        seed: the seed of the program and of torch's generator.

    Returns:
        The measured symptom.
    """
    with seeded(seed), one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about some of the mistakes
        return mistake.symptom(form(seed))
