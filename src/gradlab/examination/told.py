"""Findings in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradlab.examination.finding import Finding

NO_WRAP = 10_000  # columns of a pipe: a line must not be cut or wrapped there
LOOKED_FOR = (
    "gradients that are not cleared, cleared too soon, or added up; clipping and schedules out of "
    "order; weights that are missing, hidden, frozen or cut off; values overwritten; losses given "
    "probabilities, bare sigmoids, log(0), shapes that broadcast, shifted labels; sums over the "
    "batch; evaluation mode; kept graphs; units alike or dead; large weights, raw inputs, learning "
    "rates; backward passes by hand"
)


def tell(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print findings, or what was looked for and not found."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=NO_WRAP)
    with console.capture() as printed:
        if not findings:
            console.print(Text(f"nothing found; looked for: {LOOKED_FOR}"))
        for each in findings:
            console.print(Text(f"{each.kind}: {each.what}", style="bold"))
            rows = Table.grid(padding=(0, 2, 0, 2))
            for name in ("where", "evidence", "instead"):
                rows.add_row(Text(name, style="dim"), Text(getattr(each, name)))
            console.print(rows)
            console.print()
    lines = [line.rstrip() for line in printed.get().splitlines()]
    console.file.write("\n".join(lines).rstrip() + "\n")
