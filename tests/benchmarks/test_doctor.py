"""The programs that examine the doctor: that they run, and that the correct ones are correct."""

import sys
from pathlib import Path
from statistics import mean

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from doctor.answers import ANSWERS  # noqa: E402
from doctor.programs import BROKEN, CORRECT, run  # noqa: E402
from doctor.run import names  # noqa: E402


def with_main(paths):
    return [path for path in paths if "def main(" in path.read_text()]


def test_every_broken_program_has_one_answer_whose_line_is_in_it():
    assert [answer.path for answer in ANSWERS] == BROKEN
    for answer in ANSWERS:
        assert answer.path.read_text().count(answer.where) == 1, answer.script
        assert answer.fixed() != answer.path.read_text()
        assert answer.mistake not in answer.also
        assert answer.mistake not in answer.path.read_text(), "a program does not tell"


def test_there_are_enough_programs_of_both_kinds():
    assert len(ANSWERS) >= 24
    assert len({answer.mistake for answer in ANSWERS}) == 31
    assert len(CORRECT) >= 20
    assert len(with_main(BROKEN)) >= 10
    assert len(with_main(CORRECT)) >= 8
    assert not {path.stem for path in BROKEN} & {path.stem for path in CORRECT}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # one of the mistakes
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.script)
def test_a_broken_program_runs_or_crashes_as_its_answer_says(answer):
    if answer.crashes:
        with pytest.raises(RuntimeError, match=answer.crashes):
            run(answer.path, steps=5)
    else:
        run(answer.path, steps=5)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.script)
def test_without_its_mistake_it_runs_without_a_warning_and_learns(answer, tmp_path):
    mended = tmp_path / answer.path.name
    mended.write_text(answer.fixed())
    history = run(mended, steps=60)
    if history:  # a main that only prints returns nothing
        assert mean(history[-10:]) < mean(history[:10])


@pytest.mark.parametrize("path", CORRECT, ids=lambda path: path.stem)
def test_a_correct_program_learns_without_a_warning(path):
    history = run(path, steps=60)
    few = max(2, len(history) // 6)
    assert len(history) >= 10
    first, last = mean(history[:few]), mean(history[-few:])
    assert last < first - 0.1 * abs(first)


def test_names_are_read_from_the_beginning_of_a_line():
    page = (
        "no_zero_grad: words\n  where     train.py:3: x\n  kept_graph: no\n"
        "wrong_backward: words\nnothing found; looked for: summed_loss: no\n"
    )
    assert names(page) == {"no_zero_grad", "wrong_backward"}
