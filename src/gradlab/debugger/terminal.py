"""Findings in the terminal."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gradlab.debugger.finding import Finding
from gradlab.pages.terminal import terminal, write

LOOKED_FOR = (
    "gradients that are not cleared, cleared too soon, or added up; clipping and schedules out of "
    "order; weights that are missing, hidden, frozen or cut off; values overwritten; losses given "
    "probabilities, bare sigmoids, log(0), shapes that broadcast, shifted labels; sums over the "
    "batch; evaluation mode; kept graphs; units alike or dead; large weights, raw inputs, learning "
    "rates; backward passes by hand"
)


def tell(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print findings, or what was looked for and not found."""
    console = terminal(console)
    parts: list[RenderableType] = []
    for each in findings:
        if not console.is_terminal:
            parts.append(Text(str(each)))
            continue
        rows = Table.grid(padding=(0, 2))
        for name in ("where", "evidence", "instead"):
            rows.add_row(Text(f"  {name}", style="dim"), Text(getattr(each, name)))
        parts += [Text(f"{each.kind}: {each.what}", style="bold"), rows]
    write(
        console, *parts or [Text(f"nothing found in the first updates; looked for: {LOOKED_FOR}")]
    )
