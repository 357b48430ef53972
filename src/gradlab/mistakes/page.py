"""`gradlab mistakes NAME`: one mistake as a page in the terminal."""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from gradlab.mistakes.code import Lines, code
from gradlab.mistakes.proof import Proof
from gradlab.pages.terminal import terminal, write

WIDTH = 100


def page(proof: Proof, console: Console | None = None) -> None:
    """Print what people write, what happens, why, the fix, and the proof."""
    write(terminal(console), Text("\n").join(_page(proof)))


def _page(proof: Proof) -> Iterator[Text]:
    mistake, (broken, fixed) = proof.mistake, code(proof.mistake)
    yield Text(f"{mistake.name}: {mistake.title}", "bold")
    yield from _section("What people write", *_marked(broken, "-", "red"))
    yield from _section("What happens", *_prose(proof.happens))
    yield from _section("Why", *_prose(mistake.why))
    yield from _section("The fix", *_prose(mistake.fix), Text(), *_marked(fixed, "+", "green"))
    yield from _section("Proof", *_prose(proof.told, "" if proof.holds else "red"))
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
