"""The result of the doctor: a mistake in the user's code, and its printed form."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gradlab.pages.terminal import terminal, write

LOOKED_FOR = (
    "gradients that are not cleared, cleared too early, or accumulated without division; clipping "
    "and schedules in the wrong order; weights that are missing from the optimiser, hidden from "
    "the module, frozen, or cut off from the loss; values that are overwritten; losses with "
    "probabilities, rounded sigmoids, log(0), broadcast shapes, or shifted labels; sums over the "
    "batch; evaluation mode; stored graphs; equal or dead units; large weights; unscaled inputs; "
    "large learning rates; inf and NaN; wrong hand-written backward passes"
)


@dataclass(frozen=True)
class CodeFinding:
    """A mistake in a training step.

    Attributes:
        kind: the mistake's name; `gradlab mistakes NAME` explains the mistakes of the catalogue.
        what: the mistake in one sentence.
        where: file and line, or names of parameters or modules.
        evidence: the observations and experiments, in numbers.
        instead: correct code.
    """

    kind: str
    what: str
    where: str
    evidence: str
    instead: str

    def __str__(self) -> str:
        """Return the finding in four lines."""
        return (
            f"{self.kind}: {self.what}\n"
            f"  where      {self.where}\n"
            f"  evidence   {self.evidence}\n"
            f"  instead    {self.instead}"
        )


def print_findings(findings: Sequence[CodeFinding], console: Console | None = None) -> None:
    """Print findings; if there are none, print the list of mistakes that the doctor checked."""
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
