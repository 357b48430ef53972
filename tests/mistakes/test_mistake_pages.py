"""The output of `gradlab mistakes`, and docs/mistakes.md."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from gradlab.cli.main import main
from gradlab.mistakes import catalogue
from gradlab.mistakes.catalogue import CATALOGUE
from gradlab.mistakes.mistake import Bound, differing_lines, prove
from gradlab.mistakes.mistake_pages import (
    INTRODUCTION,
    catalogue_markdown,
    catalogue_row,
    print_catalogue,
    print_mistake,
)

DOCS = (Path(__file__).parents[2] / "docs" / "mistakes.md").read_text()
NAMES = [mistake.name for mistake in CATALOGUE]


@pytest.fixture(scope="module")
def proofs():
    return [prove(mistake) for mistake in CATALOGUE]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


def test_the_page_in_docs_is_generated(proofs):
    page = catalogue_markdown(proofs)
    assert page.startswith(INTRODUCTION)
    words, rows = ([], []), ([], [])
    for i, text in enumerate((page, DOCS)):
        for line in text.rstrip().splitlines():
            (rows if line.startswith("| [") else words)[i].append(line)
    assert words[0] == words[1]
    for now, then in zip(*rows, strict=True):
        (*names, _, _, expected), old = cells(now), cells(then)
        assert names == old[:2]
        assert expected == old[4] != "holds"


def number(cell: str) -> float:
    return float(cell.rstrip("%"))


def test_the_numbers_in_docs_are_measured(proofs):
    """Numbers of broken forms may differ between machines; numbers of fixed forms may not."""
    rows = [cells(line) for line in DOCS.splitlines() if line.startswith("| [")]
    for proof, (_, _, broken, fixed, *_) in zip(proofs, rows, strict=True):
        bound, measured = proof.mistake.bound, proof.fixed
        assert bound.contains(dataclasses.replace(measured, value=number(fixed)))
        assert not bound.contains(dataclasses.replace(measured, value=number(broken)))
        if measured.value > 1e-3:
            assert number(fixed) == pytest.approx(measured.value, rel=0.2)


def test_a_proof_needs_both_forms(proofs):
    for proof in proofs:
        assert not dataclasses.replace(proof, broken=proof.fixed).holds
        assert not dataclasses.replace(proof, fixed=proof.broken).holds


def test_the_table_has_a_row_for_each_mistake(capsys):
    assert main(["mistakes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == NAMES
    assert all(line.endswith("holds") for line in lines[1:-1])
    assert lines[-1].startswith(f"{len(NAMES)} of {len(NAMES)} proofs hold")


@pytest.mark.parametrize("name", ["no_zero_grad", "plain_list", "sigmoid_before_bce"])
def test_a_page_marks_the_lines_that_differ(name, capsys):
    assert main(["mistakes", name]) == 0
    page = capsys.readouterr().out
    broken, fixed = differing_lines(catalogue.CATALOGUE[NAMES.index(name)])
    for mark, lines in (("-", broken), ("+", fixed)):
        marked = [line[2:] for line in page.splitlines() if line.startswith(f"{mark} ")]
        assert marked == [line for line, differs in lines if differs]
    for heading in ("What people write", "What happens", "Why", "The fix", "Proof", "Source"):
        assert f"\n{heading}\n" in page
    assert "the proof holds" in page
    assert max(map(len, page.splitlines())) <= 102


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_wraps_the_table(proofs, width):
    out = io.StringIO()
    print_catalogue(proofs, Console(file=out, force_terminal=True, width=width, color_system=None))
    printed = {*out.getvalue().split()}
    for proof in proofs:
        assert {*" ".join(catalogue_row(proof)).split()} <= printed
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_a_proof_that_does_not_hold_is_printed_with_exit_code_1(monkeypatch, capsys):
    mistake = dataclasses.replace(CATALOGUE[0], bound=Bound(high=-1))
    monkeypatch.setattr(catalogue, "CATALOGUE", (mistake, CATALOGUE[1]))
    assert main(["mistakes"]) == 1
    assert "1 of 2 proofs hold" in capsys.readouterr().out
    assert main(["mistakes", mistake.name]) == 1
    assert "the proof does not hold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["no_zerograd"],
            "no_zerograd is not a mistake of the catalogue; did you mean no_zero_grad?",
        ),
        (["no_zero_grad", "plain_list"], "expected at most one of NAME and --markdown"),
        (["--markdwon"], "--markdwon is not a flag; did you mean --markdown?"),
    ],
)
def test_a_wrong_command_prints_one_line_with_exit_code_2(arguments, words, capsys):
    assert main(["mistakes", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_help_lists_the_forms_of_the_command(capsys):
    assert main(["mistakes", "--help"]) == 0
    assert "gradlab mistakes NAME" in capsys.readouterr().out


def test_markdown_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", CATALOGUE[:1])
    assert main(["mistakes", "--markdown"]) == 0
    assert f"## {NAMES[0]}" in capsys.readouterr().out


def test_a_terminal_shows_colours(proofs):
    proof = proofs[NAMES.index("no_zero_grad")]
    out = io.StringIO()
    print_mistake(proof, Console(file=out, force_terminal=True, width=80, color_system="standard"))
    assert "\x1b[32m+     optimizer.zero_grad()" in out.getvalue()
    assert catalogue_row(proof)[0] == "no_zero_grad"
