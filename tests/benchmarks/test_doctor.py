"""The programs of the doctor's benchmark run, and the correct programs learn."""

import sys
from pathlib import Path
from statistics import mean

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from doctor.corpus import load, programs, run  # noqa: E402
from doctor.run import read_kinds  # noqa: E402

from gradlab.debugger.entry_point import load_training  # noqa: E402
from gradlab.debugger.examine import examine  # noqa: E402

BROKEN = [program for program in programs() if not program.is_correct]
CORRECT = [program for program in programs() if program.is_correct]
TUNED = "tuned"  # the tests run only this set, the benchmark runs both


def has_main(program):
    return "def main(" in program.path.read_text()


def name_of(program):
    return program.path.stem


@pytest.mark.parametrize("program", BROKEN, ids=name_of)
def test_a_broken_program_has_a_fixed_version_and_does_not_name_its_mistake(program):
    text = program.path.read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("# corpus: "))
    assert compile(text, name_of(program), "exec") != compile(
        program.fixed(), name_of(program), "exec"
    )
    assert "# broken" not in program.fixed()
    assert "# fixed" not in program.fixed()
    assert program.mistake not in program.also
    assert program.mistake not in code


@pytest.mark.parametrize("program", CORRECT, ids=name_of)
def test_a_correct_program_is_equal_to_its_fixed_version(program):
    assert program.fixed() == program.path.read_text()


@pytest.mark.parametrize(("group", "broken", "correct"), [("tuned", 37, 32), ("unseen", 34, 33)])
def test_each_set_has_all_kinds_of_mistakes_and_enough_correct_programs(group, broken, correct):
    members = [program for program in BROKEN if program.set == group]
    assert len(members) == broken
    assert len({program.mistake for program in members}) == 31
    assert sum(program.set == group for program in CORRECT) == correct
    assert sum(map(has_main, members)) >= 10


@pytest.mark.parametrize(
    ("name", "line"), [("gru_sine", "optimizer.step()"), ("low_rank", "zeros(n_out")]
)
def test_the_line_of_a_mistake_is_its_first_wrong_line(name, line):
    (program,) = [program for program in BROKEN if name_of(program) == name]
    assert line in program.path.read_text().splitlines()[program.line - 1]


def test_the_line_of_a_missing_statement_is_the_line_after_it():
    (program,) = [program for program in BROKEN if name_of(program) == "lbfgs_fit"]
    lines = program.path.read_text().splitlines()
    assert "optimizer.zero_grad()" in lines[program.line - 2]
    assert "loss =" in lines[program.line - 1]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # one of the mistakes
@pytest.mark.parametrize("program", [p for p in BROKEN if p.set == TUNED], ids=name_of)
def test_a_broken_program_runs_or_crashes_as_its_labels_state(program):
    if program.crashes:
        with pytest.raises(RuntimeError, match=program.crashes):
            run(program.path, steps=5)
    else:
        run(program.path, steps=5)


@pytest.mark.parametrize("program", [p for p in BROKEN if p.set == TUNED], ids=name_of)
def test_a_fixed_version_runs_without_a_warning_and_learns(program, tmp_path):
    fixed = tmp_path / program.path.name
    fixed.write_text(program.fixed())
    history = run(fixed, steps=60)
    if history:  # a main that only prints returns nothing
        assert mean(history[-10:]) < mean(history[:10])


@pytest.mark.parametrize("program", [p for p in CORRECT if p.set == TUNED], ids=name_of)
def test_a_correct_program_learns_without_a_warning(program):
    history = run(program.path, steps=60)
    few = max(2, len(history) // 6)
    assert len(history) >= 10
    first, last = mean(history[:few]), mean(history[-few:])
    assert last < first - 0.1 * abs(first)


@pytest.mark.parametrize("program", [p for p in CORRECT if p.set == TUNED], ids=name_of)
def test_the_doctor_finds_nothing_in_a_correct_program(program):
    module = load(program.path)

    def practice():
        step, model, optimizer, batches = module.practice()
        return step, model, optimizer, batches[0]

    assert examine(*load_training(getattr(module, "main", practice))) == []


def test_kinds_are_read_from_the_beginning_of_a_line():
    page = (
        "no_zero_grad: words\n  where     train.py:3: x\n  kept_graph: no\n"
        "wrong_backward: words\nnothing found; looked for: summed_loss: no\n"
    )
    assert read_kinds(page) == {"no_zero_grad", "wrong_backward"}
