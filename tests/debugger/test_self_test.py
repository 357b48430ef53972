"""The doctor finds every mistake of the catalogue, and nothing in the fixed forms."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from gradlab.cli.main import main
from gradlab.debugger.self_test import (
    HEADINGS,
    cells,
    print_table,
    run_self_test,
    summary,
    to_markdown,
)
from gradlab.mistakes import catalogue
from gradlab.mistakes.catalogue import CATALOGUE

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
NAMES = [mistake.name for mistake in CATALOGUE]

# One worker runs this file, because the fixture trains every mistake of the catalogue.
pytestmark = pytest.mark.xdist_group("self_test")


@pytest.fixture(scope="module")
def self_tests():
    return [run_self_test(mistake) for mistake in CATALOGUE]


@pytest.mark.parametrize("i", range(len(CATALOGUE)), ids=NAMES)
def test_the_broken_form_has_a_finding_and_the_fixed_form_has_none(self_tests, i):
    one = self_tests[i]
    assert one.proof.holds, one.proof.verdict
    assert one.broken == (one.expected,)
    assert one.fixed == ()


def cells_of(line):
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


def test_the_page_shows_the_output_of_the_command(self_tests):
    printed = to_markdown(self_tests).splitlines()
    assert cells_of(printed[0]) == [*HEADINGS]
    begin = PAGE.splitlines().index(printed[0])
    shown = PAGE.splitlines()[begin : begin + len(printed)]
    assert shown[1] == printed[1]
    assert shown[-2:] == printed[-2:]
    for now, then in zip(map(cells_of, printed[2:-2]), map(cells_of, shown[2:-2]), strict=True):
        assert now[:2] + now[4:] == then[:2] + then[4:]


def test_the_numbers_in_the_page_are_measured(self_tests):
    """Numbers of broken forms may differ between machines; numbers of fixed forms may not."""
    begin = PAGE.index("| " + " | ".join(HEADINGS))
    lines = [line for line in PAGE[begin:].splitlines() if line.startswith("| [")]
    for one, line in zip(self_tests, lines[: len(self_tests)], strict=True):
        bound, fixed = one.proof.mistake.bound, one.proof.fixed
        _, _, was_broken, was_fixed, *_ = cells_of(line)
        assert not bound.contains(dataclasses.replace(fixed, value=float(was_broken.rstrip("%"))))
        assert bound.contains(dataclasses.replace(fixed, value=float(was_fixed.rstrip("%"))))
        if fixed.value > 1e-3:
            assert float(was_fixed.rstrip("%")) == pytest.approx(fixed.value, rel=0.2)


def test_missed_and_false_findings_are_printed(self_tests):
    one = self_tests[NAMES.index("no_zero_grad")]
    missed = dataclasses.replace(one, broken=())
    false_finding = dataclasses.replace(one, broken=("no_zero_grad", "learning_rate"))
    false_alarm = dataclasses.replace(one, fixed=("dying_relu",))
    assert [each.holds for each in (one, missed, false_finding, false_alarm)] == [
        True,
        False,
        False,
        False,
    ]
    assert cells(missed)[4] == "no"
    assert cells(false_finding)[4] == "no_zero_grad, learning_rate"
    assert cells(false_alarm)[5] == "dying_relu"
    assert (
        summary([one, missed, false_alarm])
        == "found when broken: 2 of 3; silent when fixed: 2 of 3"
    )


@pytest.mark.parametrize("width", [120, 160])
def test_a_narrow_terminal_wraps_the_table(self_tests, width):
    out = io.StringIO()
    print_table(self_tests, Console(file=out, force_terminal=True, width=width, color_system=None))
    words = out.getvalue().split()
    for one in self_tests:
        assert {*" ".join(cells(one)).split()} <= {*words}
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_the_command_prints_a_row_for_each_mistake(capsys, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", CATALOGUE[:2])
    assert main(["doctor", "--catalogue"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == NAMES[:2]
    assert main(["doctor", "--catalogue", "--markdown"]) == 0
    assert f"| [{NAMES[1]}](mistakes.md#{NAMES[1]}) |" in capsys.readouterr().out


def test_the_command_fails_if_a_mistake_is_missed(capsys, monkeypatch):
    hidden = dataclasses.replace(CATALOGUE[0], broken=CATALOGUE[0].fixed)
    monkeypatch.setattr(catalogue, "CATALOGUE", (hidden, CATALOGUE[1]))
    assert main(["doctor", "--catalogue"]) == 1
    assert "found when broken: 1 of 2" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--markdown"], ["--catalogue", "train.py"]])
def test_invalid_combinations_of_flags_print_one_line(arguments, capsys):
    assert main(["doctor", *arguments]) == 2
    printed = capsys.readouterr()
    assert f"given {' '.join(arguments)}" in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_large_rate_is_found_although_the_training_learns_one_batch(seed):
    one = run_self_test(CATALOGUE[NAMES.index("learning_rate")], seed)
    assert one.holds, one
