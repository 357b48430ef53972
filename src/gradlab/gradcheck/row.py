"""How to check a gradient, and what came of one array's check."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gradlab.reference.activation_functions import Array
from gradlab.reference.differences import EPS, Index

ROUNDINGS = 1e4  # of the largest gradient: a thousandth of what a difference can tell


@dataclass(frozen=True)
class Options:
    """How to check.

    Attributes:
        scheme: "two_sided" or "one_sided".
        samples: elements of each array that are checked, drawn at random; None for all.
        tolerance: the relative error from which an element is wrong.
        floor: the least size that errors are relative to; None for what rounding allows.
        seed: of the sample, and of torch's generator during the check.
        rounding: what rounding may do to the analytic gradient, an absolute number.
        only: the one element to check, if not a sample.
        typical: the size at which an element matters; None for the array's root mean square. 1 for
            the parameters of networks.
    """

    scheme: str = "two_sided"
    samples: int | None = 25
    tolerance: float = 1e-5
    floor: float | None = None
    seed: int = 0
    rounding: float = 0.0
    only: Index | None = None
    typical: float | None = None

    def beside(self, grads: Iterable[Array | None]) -> "Options":
        """Return the options for gradients of one backward pass, whose largest rules the rounding.

        A gradient that cancels, such as that of a bias before normalisation, is not 0 but a few
        roundings of what it is a sum of.
        """
        largest = max(
            (float(np.abs(g).max(initial=0.0)) for g in grads if g is not None), default=0.0
        )
        return replace(self, rounding=ROUNDINGS * EPS * largest if np.isfinite(largest) else 0.0)

    def of_parameters(self) -> "Options":
        """Return the options for arrays that are a network's parameters."""
        return replace(self, typical=1.0)


@dataclass(frozen=True)
class Row:
    """The check of one array.

    Attributes:
        name: of the array.
        size: how many elements it has.
        checked: how many of them were compared.
        worst: the largest relative error among those that were compared; NaN if none was.
        median: the median of the same.
        where: the element of the worst error.
        analytic: its analytic gradient.
        numeric: its finite difference.
        kinks: elements whose ±h crosses a kink of the function; not compared.
        unresolved: elements of which both are below the floor, so that agreement says little.
        problem: what else is wrong, in words, such as a shape; None if nothing.
        wrong: whether an element is, or there is a problem.
    """

    name: str
    size: int
    checked: int = 0
    worst: float = float("nan")
    median: float = float("nan")
    where: Index | None = None
    analytic: float = float("nan")
    numeric: float = float("nan")
    kinks: int = 0
    unresolved: int = 0
    problem: str | None = None
    wrong: bool = False

    @property
    def resolved(self) -> bool:
        """Whether any element is large enough for a difference to tell right from wrong."""
        return self.wrong or self.kinks + self.unresolved < self.checked or not self.size
