"""`gradlab mistakes --markdown`: the whole catalogue as a page."""

from collections.abc import Iterator, Sequence

from gradlab.mistakes.mistake import Mistake
from gradlab.mistakes.proof import Proof
from gradlab.mistakes.table import HEADINGS, row

INTRODUCTION = """\
# Common mistakes in backpropagation

Each mistake is run in two forms, which differ in the line or so that people get wrong, and both are
measured by the same code. `gradlab mistakes` runs them all, `gradlab mistakes NAME` shows one with
its code. This page is what `gradlab mistakes --markdown` printed, on a CPU and with seed 0; of a
training that blows up, other machines will print other numbers.
"""


def markdown(proofs: Sequence[Proof]) -> str:
    """Return the page: a table, then a paragraph for each mistake."""
    head = [*HEADINGS[:-1], "sound"]
    rows = [head, ["---"] * len(head), *map(_row, proofs)]
    lines = [INTRODUCTION, *(f"| {' | '.join(each)} |" for each in rows)]
    for proof in proofs:
        lines += _entry(proof.mistake)
    return "\n".join(lines)


def _row(proof: Proof) -> list[str]:
    name, *measured, _ = row(proof)
    return [f"[{name}](#{name})", *measured, proof.sound]


def _entry(mistake: Mistake) -> Iterator[str]:
    links = f"[code](../src/gradlab/mistakes/cases/{mistake.name}.py), {_source(mistake.source)}"
    yield f"\n## {mistake.name}\n"
    yield f"**{mistake.title[0].upper()}{mistake.title[1:]}.** {mistake.why}\n"
    yield f"{mistake.fix} ({links})"


def _source(source: str) -> str:
    return f"[source]({source})" if source.startswith("https://") else source
