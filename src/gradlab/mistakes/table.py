"""`gradlab mistakes`: the catalogue as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gradlab.mistakes.proof import Proof
from gradlab.pages.terminal import plain_table, terminal, write

HEADINGS = ("mistake", "what is measured", "broken", "fixed", "proof")


def row(proof: Proof) -> tuple[str, ...]:
    """Return a mistake's cells, one for each heading."""
    mistake, measured = proof.mistake, proof.fixed
    return (mistake.name, measured.name, str(proof.broken), str(measured), proof.verdict)


def table(proofs: Sequence[Proof], console: Console | None = None) -> None:
    """Print a line for each mistake."""
    console = terminal(console)
    out = plain_table(console)
    for heading in HEADINGS:
        right, prose = heading in ("broken", "fixed"), heading == "what is measured"
        out.add_column(heading, justify="right" if right else "left", no_wrap=not prose)
    for proof in proofs:
        out.add_row(*map(Text, row(proof)), style="" if proof.holds else "red")
    held = sum(proof.holds for proof in proofs)
    told = f"{held} of {len(proofs)} proofs hold; gradlab mistakes NAME shows one"
    write(console, out, Text(told))
