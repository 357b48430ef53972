"""A story in sections, told alike in a terminal and on a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap

WIDTH = 100


@dataclass(frozen=True)
class PageTable:
    """Rows of cells under headings: names in the first column, then numbers, then perhaps prose."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = True


@dataclass(frozen=True)
class Section:
    """A heading, some sentences, a table, and what follows from it.

    `figure` names the picture that a page shows with it.
    """

    heading: str
    before: Sequence[str] = ()
    table: PageTable | None = None
    after: Sequence[str] = ()
    figure: str | None = None


@dataclass(frozen=True)
class Page:
    """A title, which is the finding, and sections."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)


def as_text(story: Page) -> str:
    """Return the story for a terminal, at most 100 columns wide but for tables."""
    lines = [*wrap(story.title, WIDTH), ""]
    for number, section in enumerate(story.sections):
        lines += [f"{number}. {section.heading}" if number else section.heading, ""]
        for paragraph in section.before:
            lines += [*_paragraph(paragraph)]
        if section.table is not None:
            lines += ["", *_rows(section.table)] if section.before else _rows(section.table)
        if section.after:
            lines.append("")
        for paragraph in section.after:
            lines += [*_paragraph(paragraph)]
        lines.append("")
    return "\n".join(lines).rstrip()


def _paragraph(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _rows(table: PageTable) -> list[str]:
    cells = [list(table.headings), *[list(row) for row in table.rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines: list[str] = []
    last = len(widths) - 1
    for row in cells:
        aligned = [
            c.ljust(w) if i == 0 or (table.prose and i == last) else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("    " + "  ".join(aligned).rstrip())
    return lines
