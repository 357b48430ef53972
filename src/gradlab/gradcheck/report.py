"""What a gradient check found, as a table that a person reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradlab.gradcheck.row import Options, Row


@dataclass(frozen=True)
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
    def untold(self) -> list[str]:
        """The names of the arrays of which neither the whole nor a single step could tell."""
        blind = [row.name for row in self.rows if not row.resolved and not row.problem]
        return [name for name in blind if name not in self.covered]

    @property
    def wrong(self) -> list[str]:
        """The names of the arrays whose gradients are wrong."""
        return [row.name for row in self.rows if row.wrong]

    def __str__(self) -> str:
        """Return the table and what it says."""
        return "\n".join([*table(self.rows), "", *self.told()])

    def told(self) -> list[str]:
        """Return what the table says, in lines."""
        lines = [f"note: {note}" for note in self.notes]
        if self.covered:
            small = "too small for a difference of losses to tell; checked step by step instead"
            lines.append(f"{_some(self.covered)}: {small}")
        if self.untold:
            lines.append(f"{_some(self.untold)}: too near to 0 or to a kink to tell")
        if self.passed:
            right = len(self.rows) - len(self.untold)
            many = f"{right} of {len(self.rows)}" if self.untold else f"all {len(self.rows)}"
            limit = f"the elements checked differ by less than {self.options.tolerance:g}"
            return [*lines, f"{many} gradients are right: {limit}" if right else "nothing was told"]
        wrong = self.wrong or [row.name for row in self.local if row.wrong]
        lines.append(f"wrong: {_some(wrong)}")
        lines += [f"the error enters at {place}" for place in self.enters]
        return lines


def table(rows: Sequence[Row], extra: Sequence[tuple[str, Sequence[str]]] = ()) -> list[str]:
    """Return the lines of a table of rows; `extra` columns are (heading, cells)."""
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
        ("", [_verdict(row) for row in rows]),
    ]
    widths = [max(len(head), *map(len, cells)) for head, cells in columns]
    lines = [[head for head, _ in columns], *zip(*[cells for _, cells in columns], strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _verdict(row: Row) -> str:
    if row.wrong:
        return f"WRONG: {row.problem}" if row.problem else "WRONG"
    return row.problem or ("right" if row.resolved else "?")


def _number(value: float, digits: int = 2) -> str:
    return "" if value != value else f"{value:.{digits}g}"


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
