"""The output of `gradlab mistakes`: a table, the page of one mistake, and a Markdown page."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from gradlab.mistakes.mistake import MarkedLines, Mistake, Proof, differing_lines
from gradlab.pages.terminal import plain_table, terminal, write

HEADINGS = ("mistake", "measured symptom", "broken", "fixed", "proof")


def catalogue_row(proof: Proof) -> tuple[str, ...]:
    """Return the cells of a mistake, one for each heading."""
    mistake, measured = proof.mistake, proof.fixed
    return (mistake.name, measured.name, str(proof.broken), str(measured), proof.verdict)


def print_catalogue(proofs: Sequence[Proof], console: Console | None = None) -> None:
    """Print one row for each mistake, and the number of proofs that hold."""
    console = terminal(console)
    out = plain_table(console)
    for heading in HEADINGS:
        is_number, is_prose = heading in ("broken", "fixed"), heading == "measured symptom"
        out.add_column(heading, justify="right" if is_number else "left", no_wrap=not is_prose)
    for proof in proofs:
        out.add_row(*map(Text, catalogue_row(proof)), style="" if proof.holds else "red")
    count = sum(proof.holds for proof in proofs)
    summary = f"{count} of {len(proofs)} proofs hold; gradlab mistakes NAME explains one mistake"
    write(console, out, Text(summary))


WIDTH = 100


def print_mistake(proof: Proof, console: Console | None = None) -> None:
    """Print the broken code, its effect, the reason, the fix and the proof."""
    write(terminal(console), Text("\n").join(_mistake_lines(proof)))


def _mistake_lines(proof: Proof) -> Iterator[Text]:
    mistake, (broken, fixed) = proof.mistake, differing_lines(proof.mistake)
    yield Text(f"{mistake.name}: {mistake.title}", "bold")
    removed, added = _mark(broken, "-", "red"), _mark(fixed, "+", "green")
    yield from _section("What people write", *removed)
    yield from _section("What happens", *_prose(proof.effect))
    yield from _section("Why", *_prose(mistake.why))
    yield from _section("The fix", *_prose(mistake.fix), Text(), *added)
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


def _mark(lines: MarkedLines, mark: str, style: str) -> list[Text]:
    """Put a mark before each line that the other form does not contain.

    Args:
        lines: the code.
        mark: "-" or "+".
        style: the colour of marked lines.

    Returns:
        The printable lines.
    """
    return [
        Text(f"{mark if is_different else ' '} {line}".rstrip(), style if is_different else "")
        for line, is_different in lines
    ]


INTRODUCTION = """\
# Common mistakes in backpropagation

How does a mistake in training code show, and how is it fixed? Each mistake here has a broken and
a fixed form, which differ in a few lines. The same code measures one number of both. The last
column of the table is the value in a correct program.

Most examples train a network with one hidden layer of 32 ReLUs on handwritten digits: 64 pixels,
10 classes, batches of 64. *Held-out* samples are not used for the training.

`gradlab mistakes NAME` explains one mistake and shows its code. `gradlab mistakes` measures the
whole catalogue in about 20 seconds; its exit code is 1 if a number is not as expected.
`gradlab mistakes --markdown` printed this page, on a CPU with seed 0. The numbers of diverging
trainings differ between machines. [The doctor](doctor.md) finds all of these mistakes in programs.
"""


def catalogue_markdown(proofs: Sequence[Proof]) -> str:
    """Return the page: a table, then a paragraph for each mistake."""
    head = [*HEADINGS[:-1], "expected"]
    rows = [head, ["---"] * len(head), *map(_row, proofs)]
    lines = [INTRODUCTION, *(f"| {' | '.join(each)} |" for each in rows)]
    for proof in proofs:
        lines += _entry(proof.mistake)
    return "\n".join(lines)


def _row(proof: Proof) -> list[str]:
    name, *measured, _ = catalogue_row(proof)
    return [f"[{name}](#{name})", *measured, proof.expected]


def _entry(mistake: Mistake) -> Iterator[str]:
    links = f"[code](../src/gradlab/mistakes/cases/{mistake.name}.py), {_source(mistake.source)}"
    yield f"\n## {mistake.name}\n"
    yield f"**{mistake.title[0].upper()}{mistake.title[1:]}.** {mistake.why}\n"
    yield f"{mistake.fix} ({links})"


def _source(source: str) -> str:
    return f"[source]({source})" if source.startswith("https://") else source
