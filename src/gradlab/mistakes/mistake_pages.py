"""`gradlab mistakes`: the catalogue as a table, one mistake, and the catalogue in Markdown."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from gradlab.mistakes.mistake import Lines, Mistake, Proof, differing_lines
from gradlab.pages.terminal import plain_table, terminal, write

HEADINGS = ("mistake", "what is measured", "broken", "fixed", "proof")


def catalogue_row(proof: Proof) -> tuple[str, ...]:
    """Return a mistake's cells, one for each heading."""
    mistake, measured = proof.mistake, proof.fixed
    return (mistake.name, measured.name, str(proof.broken), str(measured), proof.verdict)


def print_catalogue(proofs: Sequence[Proof], console: Console | None = None) -> None:
    """Print a line for each mistake."""
    console = terminal(console)
    out = plain_table(console)
    for heading in HEADINGS:
        right, prose = heading in ("broken", "fixed"), heading == "what is measured"
        out.add_column(heading, justify="right" if right else "left", no_wrap=not prose)
    for proof in proofs:
        out.add_row(*map(Text, catalogue_row(proof)), style="" if proof.holds else "red")
    held = sum(proof.holds for proof in proofs)
    told = f"{held} of {len(proofs)} proofs hold; gradlab mistakes NAME shows one"
    write(console, out, Text(told))


WIDTH = 100


def print_mistake(proof: Proof, console: Console | None = None) -> None:
    """Print what people write, what happens, why, the fix, and the proof."""
    write(terminal(console), Text("\n").join(_mistake_lines(proof)))


def _mistake_lines(proof: Proof) -> Iterator[Text]:
    mistake, (broken, fixed) = proof.mistake, differing_lines(proof.mistake)
    yield Text(f"{mistake.name}: {mistake.title}", "bold")
    yield from _section("What people write", *_marked(broken, "-", "red"))
    yield from _section("What happens", *_prose(proof.happens))
    yield from _section("Why", *_prose(mistake.why))
    yield from _section("The fix", *_prose(mistake.fix), Text(), *_marked(fixed, "+", "green"))
    yield from _section("Proof", *_prose(proof.summary, "" if proof.holds else "red"))
    yield from _section("Source", *_prose(mistake.source))


def _section(heading: str, *lines: Text) -> Iterator[Text]:
    yield from (Text(), Text(heading, "bold"), *lines)


def _prose(text: str, style: str = "") -> list[Text]:
    indent = "  "
    return [
        Text(line, style)
        for line in wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    ]


def _marked(lines: Lines, mark: str, style: str) -> list[Text]:
    return [
        Text(f"{mark if only else ' '} {line}".rstrip(), style if only else "")
        for line, only in lines
    ]


INTRODUCTION = """\
# Common mistakes in backpropagation

Each mistake is run in two forms, which differ in the line or so that people get wrong, and both are
measured by the same code. `gradlab mistakes` runs them all, `gradlab mistakes NAME` shows one with
its code. This page is what `gradlab mistakes --markdown` printed, on a CPU and with seed 0; of a
training that blows up, other machines will print other numbers.
"""


def catalogue_markdown(proofs: Sequence[Proof]) -> str:
    """Return the page: a table, then a paragraph for each mistake."""
    head = [*HEADINGS[:-1], "sound"]
    rows = [head, ["---"] * len(head), *map(_row, proofs)]
    lines = [INTRODUCTION, *(f"| {' | '.join(each)} |" for each in rows)]
    for proof in proofs:
        lines += _entry(proof.mistake)
    return "\n".join(lines)


def _row(proof: Proof) -> list[str]:
    name, *measured, _ = catalogue_row(proof)
    return [f"[{name}](#{name})", *measured, proof.sound]


def _entry(mistake: Mistake) -> Iterator[str]:
    links = f"[code](../src/gradlab/mistakes/cases/{mistake.name}.py), {_source(mistake.source)}"
    yield f"\n## {mistake.name}\n"
    yield f"**{mistake.title[0].upper()}{mistake.title[1:]}.** {mistake.why}\n"
    yield f"{mistake.fix} ({links})"


def _source(source: str) -> str:
    return f"[source]({source})" if source.startswith("https://") else source
