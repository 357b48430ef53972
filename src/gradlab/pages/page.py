"""The content of a page, and its forms as plain text and Markdown.

Every command that writes a page fills a `Page`. `pages.html` writes it as HTML with the base
template. `as_text` returns the same page for a terminal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap

WIDTH = 100  # characters in a line of text in a terminal
WIDE = 40  # HTML tables break the lines of cells with more characters
NUMBER = re.compile(r"[=×+\-−± ]*(\d[\d.,e+\-−%/ ±]*|inf|nan|n/a|exactly 0)?")


@dataclass(frozen=True)
class PageTable:
    """Rows of cells under headings.

    Attributes:
        headings: a heading for each column.
        rows: the cells of each row. The first column holds names, the others numbers.
        prose: whether the last column holds text instead of numbers.
        row_classes: a CSS class for each row, such as a verdict; empty for none.
        cell_classes: a CSS class for each cell; empty for none.
        sortable: whether a click on a heading of an HTML page sorts the rows.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = True
    row_classes: Sequence[str] = ()
    cell_classes: Sequence[Sequence[str]] = ()
    sortable: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page, in this order: heading, paragraphs, list, code, table, figure, paragraphs.

    Attributes:
        heading: the heading of the section; "" for none.
        before: the paragraphs before the table.
        table: the table, if there is one.
        after: the paragraphs after the table and the figure.
        figure: the name of the figure, if there is one.
        items: the items of a list.
        code: lines that a reader copies, such as a command.
        alt: a sentence that describes the figure; the heading by default.
        caption: a text below the figure that explains how to read it.
    """

    heading: str
    before: Sequence[str] = ()
    table: PageTable | None = None
    after: Sequence[str] = ()
    figure: str | None = None
    items: Sequence[str] = ()
    code: str = ""
    alt: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """A title that states the result, an introduction, and sections."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
    introduction: Sequence[str] = ()


def as_text(page: Page) -> str:
    """Return the page for a terminal. Lines have at most 100 characters, except in tables."""
    lines = [*wrap(page.title, WIDTH), ""]
    for paragraph in page.introduction:
        lines += [*_wrap_paragraph(paragraph), ""]
    for number, section in enumerate(page.sections):
        lines += [f"{number}. {section.heading}" if number else section.heading, ""]
        for paragraph in section.before:
            lines += _wrap_paragraph(paragraph)
        if section.table is not None:
            lines += [""] if section.before else []
            lines += [f"    {line}" for line in table_lines(section.table)]
        if section.after:
            lines.append("")
        for paragraph in section.after:
            lines += _wrap_paragraph(paragraph)
        lines.append("")
    return "\n".join(lines).rstrip()


def as_markdown(page: Page, pictures: Mapping[str, str]) -> str:
    """Return the page in Markdown.

    Args:
        page: the page.
        pictures: the path of each figure's file, by the name of the figure.

    Returns:
        The Markdown text.
    """
    parts = [f"# {page.title}", *page.introduction]
    for section in page.sections:
        parts += [f"## {section.heading}", *section.before]
        if section.table is not None:
            heads = section.table.headings
            rows = [heads, ["---"] * len(heads), *section.table.rows]
            bars = [[cell.replace("|", "\\|") for cell in row] for row in rows]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in bars))
        if section.figure and section.figure in pictures:
            parts.append(f"![{section.alt or section.heading}]({pictures[section.figure]})")
        parts += section.after
    return "\n\n".join(parts) + "\n"


def as_html(table: PageTable) -> str:
    """Return the table in HTML, for pages and for notebooks (`_repr_html_`).

    Every cell is escaped. Columns of numbers are aligned right. Long cells wrap.
    """
    rows = [list(row) for row in table.rows]
    columns = [_column_class([row[i] for row in rows]) for i in range(len(table.headings))]
    head = "".join(
        f"<th{_class(name)}>{escape(heading)}</th>"
        for name, heading in zip(columns, table.headings, strict=True)
    )
    lines = [f"<table{_class('sortable' if table.sortable else '')}>"]
    lines.append(f"<thead><tr>{head}</tr></thead><tbody>")
    for i, row in enumerate(rows):
        marks = table.cell_classes[i] if table.cell_classes else [""] * len(row)
        cells = "".join(
            f"<td{_class(f'{name} {mark}')}>{escape(cell)}</td>"
            for name, mark, cell in zip(columns, marks, row, strict=True)
        )
        lines.append(f"<tr{_class(table.row_classes[i] if table.row_classes else '')}>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def notebook_html(heading: str, table: PageTable, sentences: Sequence[str] = ()) -> str:
    """Return the HTML that a result shows in a notebook. Every text is escaped.

    Args:
        heading: the first line, bold.
        table: the table.
        sentences: paragraphs below the table.

    Returns:
        One `<div>`.
    """
    lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f"<div><p><b>{escape(heading)}</b></p>{as_html(table)}{lines}</div>"


def aligned_lines(
    rows: Sequence[Sequence[str]], right: Sequence[int] = (), gap: str = "  "
) -> list[str]:
    """Format rows of cells as lines of text. Each column is as wide as its longest cell.

    Args:
        rows: the cells [rows, columns]; the headings are the first row.
        right: indices of the columns to align right; the others are aligned left.
        gap: the text between two columns.

    Returns:
        A line for each row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table_lines(table: PageTable) -> list[str]:
    """Return the table as lines of text, with numbers aligned right."""
    last = len(table.headings) - 1
    right = [i for i in range(1, last + 1) if not (table.prose and i == last)]
    return aligned_lines([table.headings, *table.rows], right)


def _wrap_paragraph(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _column_class(cells: Sequence[str]) -> str:
    if cells and all(NUMBER.fullmatch(cell) for cell in cells):
        return "number"
    return "wide" if any(len(cell) > WIDE for cell in cells) else ""


def _class(names: str) -> str:
    names = " ".join(names.split())
    return f' class="{escape(names)}"' if names else ""
