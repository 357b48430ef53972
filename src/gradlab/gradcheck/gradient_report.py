"""The result of a gradient check: a row per array, and the report that a person reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradlab.pages.page import PageTable, notebook_html, table_lines
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
        """Whether any element is large enough for a difference to tell right from wrong."""
        return self.wrong or self.kinks + self.unresolved < self.checked or not self.size


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The result of a check.

    Attributes:
        rows: one per array, the parameters in order from the input to the output.
        options: how it was checked.
        local: checks of single steps of the pass, each from the gradient that reaches it, which
            show where an error enters; and what the whole could not resolve. Empty if not needed.
        enters: the places where an error enters, those nearest the loss first.
        notes: what else should be known, a line each.
        covered: the arrays that only the local checks could tell of.
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
        """The names of the arrays that no check could decide, of the whole or of a step."""
        blind = [row.name for row in self.rows if not row.resolved and not row.problem]
        return [name for name in blind if name not in self.covered]

    @property
    def wrong(self) -> list[str]:
        """The names of the arrays whose gradients are wrong."""
        return [row.name for row in self.rows if row.wrong]

    def __str__(self) -> str:
        """Return the table and its summary."""
        return "\n".join([*table_lines(row_table(self.rows)), "", *self.summary()])

    def __repr__(self) -> str:
        """Return the same in one line."""
        return f"GradientReport({self.summary()[-1]})"

    def _repr_html_(self) -> str:
        """Return the table and its summary for a notebook."""
        return notebook_html("Gradient check", row_table(self.rows), self.summary())

    def summary(self) -> list[str]:
        """Return the summary, a sentence per line."""
        lines = [f"note: {note}" for note in self.notes]
        if self.covered:
            small = "too small for a difference of losses to tell; checked step by step instead"
            lines.append(f"{_some(self.covered)}: {small}")
        if self.undecided:
            lines.append(f"{_some(self.undecided)}: too near to 0 or to a kink to tell")
        if self.passed:
            right = len(self.rows) - len(self.undecided)
            many = f"{right} of {len(self.rows)}" if self.undecided else f"all {len(self.rows)}"
            limit = f"the elements checked differ by less than {self.options.tolerance:g}"
            return [*lines, f"{many} gradients are right: {limit}" if right else "nothing was told"]
        wrong = self.wrong or [row.name for row in self.local if row.wrong]
        lines.append(f"wrong: {_some(wrong)}")
        lines += [f"the error enters at {place}" for place in self.enters]
        return lines


def row_table(rows: Sequence[Row], extra: Sequence[tuple[str, Sequence[str]]] = ()) -> PageTable:
    """Return checked arrays as a table.

    Args:
        rows: an array each.
        extra: further columns, as (heading, cells).

    Returns:
        The table; its last column is the result of each array.
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


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
