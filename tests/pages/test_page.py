"""One page as text, Markdown, HTML and notebook output."""

import re

from matplotlib.figure import Figure

from gradlab import schema
from gradlab.pages.html import write
from gradlab.pages.page import (
    Page,
    PageTable,
    Section,
    aligned_lines,
    as_html,
    as_markdown,
    as_text,
    notebook_html,
)
from gradlab.pages.style import VERDICTS, verdict_tints

TABLE = PageTable(["name", "loss", "note"], [["a<b>", "1.5", "x|y"], ["c", "-20", "z" * 50]])
PAGE = Page(
    "A title",
    [Section("One", ["before"], TABLE, ["after"]), Section("Two", items=["<i>"], code="ls > x")],
)


def test_the_terminal_aligns_names_left_and_numbers_right():
    lines = as_text(PAGE).splitlines()
    assert lines[0] == "A title"
    assert "    a<b>   1.5  x|y" in lines
    assert "    c      -20  " + "z" * 50 in lines
    assert aligned_lines([["a", "bb"], ["ccc", "d"]], right=[1]) == ["a    bb", "ccc   d"]


def test_html_escapes_every_cell_and_aligns_numbers_right():
    text = as_html(TABLE)
    assert "a&lt;b&gt;" in text
    assert "<b>" not in text
    assert '<td class="number">-20</td>' in text
    assert f'<td class="wide">{"z" * 50}</td>' in text


def test_html_rows_and_cells_have_their_css_classes():
    table = PageTable(["a"], [["x"], ["y"]], row_classes=["r", ""], cell_classes=[[""], ["k"]])
    assert '<tr class="r"><td>x</td></tr>\n<tr><td class="k">y</td></tr>' in as_html(table)


def test_markdown_escapes_bars():
    assert "| a<b> | 1.5 | x\\|y |" in as_markdown(PAGE, {})


def test_notebook_output_is_escaped():
    text = notebook_html("<h>", TABLE, ["<script>"])
    assert "&lt;h&gt;" in text
    assert "<script>" not in text


def test_a_written_page_contains_its_sections_and_figures(tmp_path):
    page = Page("T <x>", [*PAGE.sections, Section("Three", figure="f", caption="c & d")])
    text = write(page, {"f": Figure()}, tmp_path, markdown=True).read_text()
    assert "<h1>T &lt;x&gt;</h1>" in text
    assert "<li>&lt;i&gt;</li>" in text
    assert "<pre>ls &gt; x</pre>" in text
    assert "<figcaption>c &amp; d</figcaption>" in text
    assert len(re.findall("data:image/png;base64,.", text)) == 1
    assert {file.name for file in tmp_path.iterdir()} - {".gradlab-files"} == {
        "index.html",
        "index.md",
        "f.png",
        "f.svg",
    }


def test_every_verdict_of_the_schema_has_a_colour_and_a_background():
    assert set(VERDICTS) == set(verdict_tints()) == set(schema.VERDICTS)
    assert len(set(verdict_tints().values())) == len(VERDICTS)
