"""The result of a gradient check: one row for each array, and a printed report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradlab.pages.page import PageTable, notebook_html, table_lines
from gradlab.reference.activation_functions import Array
from gradlab.reference.differences import EPS, Index

ROUNDINGS = 1e4  # rounding error that is tolerated, in EPS times the largest gradient


@dataclass(frozen=True)
class Options:
    """The options of a gradient check.

    Attributes:
        scheme: "two_sided" or "one_sided".
        samples: the number of elements checked in each array, drawn at random; None for all.
        tolerance: the relative error above which an element is wrong.
        floor: the smallest denominator of the relative error; None to derive it from rounding.
        seed: the seed of the sample, and of torch's generator during the check.
        rounding: the possible rounding error of the analytic gradient, an absolute number.
        only: the index of a single element to check instead of a sample.
        typical: the typical size of an element, which scales the step; None for the array's root
            mean square. It is 1 for the parameters of networks.
    """

    scheme: str = "two_sided"
    samples: int | None = 25
    tolerance: float = 1e-5
    floor: float | None = None
    seed: int = 0
    rounding: float = 0.0
    only: Index | None = None
    typical: float | None = None

    def for_gradients(self, grads: Iterable[Array | None]) -> "Options":
        """Return the options with the rounding error of one backward pass.

        The largest gradient determines the rounding error. For example, the gradient of a bias
        before a normalisation is 0, but it is computed as a sum of larger terms that cancel.
        """
        largest = max(
            (float(np.abs(g).max(initial=0.0)) for g in grads if g is not None), default=0.0
        )
        return replace(self, rounding=ROUNDINGS * EPS * largest if np.isfinite(largest) else 0.0)

    def for_parameters(self) -> "Options":
        """Return the options for the parameters of a network."""
        return replace(self, typical=1.0)


@dataclass(frozen=True)
class Row:
    """The result of the check for one array.

    Attributes:
        name: the name of the array.
        size: the number of elements.
        checked: the number of elements that were selected for the check.
        worst: the largest relative error; NaN if no element was compared.
        median: the median relative error; NaN if no element was compared.
        where: the index of the element with the largest error.
        analytic: the analytic derivative of this element.
        numeric: the finite difference of this element.
        kinks: the number of elements near a kink of the function; they are not compared.
        unresolved: the number of elements whose derivatives are both below the floor.
        problem: another problem in words, such as a wrong shape; None if there is none.
        wrong: whether an element is wrong, or there is a problem that makes the gradient wrong.
    """

    # attributes: a record, whose fields are the columns of the printed table

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
        """Whether at least one element could be decided, right or wrong."""
        return self.wrong or self.kinks + self.unresolved < self.checked or not self.size


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The result of a gradient check.

    Attributes:
        rows: one row for each array, the parameters in order from the input to the output.
        options: the options of the check.
        local: the checks of single modules or equations, each with its incoming gradient. They
            locate errors, and decide arrays that the whole network cannot. Empty if not needed.
        enters: the places where an error enters, nearest to the loss first.
        notes: further remarks, one line each.
        covered: the arrays that only the local checks could decide.
    """

    rows: Sequence[Row]
    options: Options
    local: Sequence[Row] = ()
    enters: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    covered: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether no gradient is wrong."""
        return not any(row.wrong for row in (*self.rows, *self.local))

    @property
    def undecided(self) -> list[str]:
        """The names of the arrays that neither the whole network nor a local check could decide."""
        unresolved = [row.name for row in self.rows if not row.resolved and not row.problem]
        return [name for name in unresolved if name not in self.covered]

    @property
    def wrong(self) -> list[str]:
        """The names of the arrays whose gradients are wrong."""
        return [row.name for row in self.rows if row.wrong]

    def __str__(self) -> str:
        """Return the table and its summary."""
        return "\n".join([*table_lines(row_table(self.rows)), "", *self.summary()])

    def __repr__(self) -> str:
        """Return the last line of the summary."""
        return f"GradientReport({self.summary()[-1]})"

    def _repr_html_(self) -> str:
        """Return the table and its summary for a notebook."""
        return notebook_html("Gradient check", row_table(self.rows), self.summary())

    def summary(self) -> list[str]:
        """Return the summary, one sentence per line."""
        lines = [f"note: {note}" for note in self.notes]
        if self.covered:
            small = "too small for a finite difference of the loss; checked step by step instead"
            lines.append(f"{_first_names(self.covered)}: {small}")
        if self.undecided:
            lines.append(f"{_first_names(self.undecided)}: not decided, too near to 0 or a kink")
        if self.passed:
            right = len(self.rows) - len(self.undecided)
            many = f"{right} of {len(self.rows)}" if self.undecided else f"all {len(self.rows)}"
            limit = f"the elements checked differ by less than {self.options.tolerance:g}"
            verdict = f"{many} gradients are right: {limit}" if right else "no gradient was decided"
            return [*lines, verdict]
        wrong = self.wrong or [row.name for row in self.local if row.wrong]
        lines.append(f"wrong: {_first_names(wrong)}")
        lines += [f"the error enters at {place}" for place in self.enters]
        return lines


def row_table(rows: Sequence[Row], extra: Sequence[tuple[str, Sequence[str]]] = ()) -> PageTable:
    """Return the checked arrays as a table.

    Args:
        rows: one row for each array.
        extra: further columns, each as (heading, cells).

    Returns:
        The table; its last column is the result for each array.
    """
    columns = [
        ("gradient", [row.name for row in rows]),
        ("checked", [f"{row.checked}/{row.size}" for row in rows]),
        ("worst", [_number(row.worst) for row in rows]),
        ("median", [_number(row.median) for row in rows]),
        ("at", ["" if row.where is None else str(list(row.where)) for row in rows]),
        ("analytic", [_number(row.analytic, 7) for row in rows]),
        ("difference", [_number(row.numeric, 7) for row in rows]),
        ("kinks", [str(row.kinks or "") for row in rows]),
        ("below noise", [str(row.unresolved or "") for row in rows]),
        *extra,
        ("", [_row_verdict(row) for row in rows]),
    ]
    headings, cells = zip(*columns, strict=True)
    return PageTable(headings, list(zip(*cells, strict=True)), prose=False)


def _row_verdict(row: Row) -> str:
    if row.wrong:
        return f"WRONG: {row.problem}" if row.problem else "WRONG"
    return row.problem or ("right" if row.resolved else "?")


def _number(value: float, digits: int = 2) -> str:
    return "" if value != value else f"{value:.{digits}g}"


def _first_names(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
