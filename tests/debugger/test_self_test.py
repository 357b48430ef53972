"""The doctor on the catalogue: all is found and all fixes are left in peace, as docs/ shows."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from gradlab.cli.main import main
from gradlab.debugger.self_test import HEADINGS, consult, markdown, row, table, total
from gradlab.mistakes import catalogue
from gradlab.mistakes.catalogue import CATALOGUE

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
NAMES = [mistake.name for mistake in CATALOGUE]


@pytest.fixture(scope="module")
def consultations():
    return [consult(mistake) for mistake in CATALOGUE]


@pytest.mark.parametrize("i", range(len(CATALOGUE)), ids=NAMES)
def test_it_is_found_when_broken_and_not_when_fixed(consultations, i):
    one = consultations[i]
    assert one.proof.holds, one.proof.told
    assert one.broken == (one.name,)
    assert one.fixed == ()


def cells(line):
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


def test_the_page_shows_what_the_command_prints(consultations):
    told = markdown(consultations).splitlines()
    assert cells(told[0]) == [*HEADINGS]
    begin = PAGE.splitlines().index(told[0])
    shown = PAGE.splitlines()[begin : begin + len(told)]
    assert shown[1] == told[1]
    assert shown[-2:] == told[-2:]
    for now, then in zip(map(cells, told[2:-2]), map(cells, shown[2:-2]), strict=True):
        assert now[:2] + now[4:] == then[:2] + then[4:]


def test_the_numbers_in_the_page_are_those_that_are_measured(consultations):
    """What blew up may differ between machines by its very nature; what was sound may not."""
    begin = PAGE.index("| " + " | ".join(HEADINGS))
    lines = [line for line in PAGE[begin:].splitlines() if line.startswith("| [")]
    for one, line in zip(consultations, lines[: len(consultations)], strict=True):
        holds, fixed = one.proof.mistake.holds, one.proof.fixed
        _, _, was_broken, was_fixed, *_ = cells(line)
        assert not holds(dataclasses.replace(fixed, value=float(was_broken.rstrip("%"))))
        assert holds(dataclasses.replace(fixed, value=float(was_fixed.rstrip("%"))))
        if fixed.value > 1e-3:
            assert float(was_fixed.rstrip("%")) == pytest.approx(fixed.value, rel=0.2)


def test_what_is_missed_or_said_besides_is_told(consultations):
    one = consultations[NAMES.index("no_zero_grad")]
    missed = dataclasses.replace(one, broken=())
    besides = dataclasses.replace(one, broken=("no_zero_grad", "learning_rate"))
    false = dataclasses.replace(one, fixed=("dying_relu",))
    assert [each.holds for each in (one, missed, besides, false)] == [True, False, False, False]
    assert row(missed)[4] == "no"
    assert row(besides)[4] == "no_zero_grad, learning_rate"
    assert row(false)[5] == "dying_relu"
    assert total([one, missed, false]) == "found when broken: 2 of 3; silent when fixed: 2 of 3"


@pytest.mark.parametrize("width", [120, 160])
def test_a_narrow_terminal_folds_words_and_cuts_nothing(consultations, width):
    out = io.StringIO()
    table(consultations, Console(file=out, force_terminal=True, width=width, color_system=None))
    said = out.getvalue().split()
    for one in consultations:
        assert {*" ".join(row(one)).split()} <= {*said}
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_the_command(capsys, monkeypatch):
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


@pytest.mark.parametrize("given", [["--markdown"], ["--catalogue", "train.py"]])
def test_flags_that_do_not_go_together_are_one_line(given, capsys):
    assert main(["doctor", *given]) == 2
    printed = capsys.readouterr()
    assert f"given {' '.join(given)}" in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_rate_is_found_where_one_batch_is_learnt_all_the_same(seed):
    one = consult(CATALOGUE[NAMES.index("learning_rate")], seed)
    assert one.holds, one
