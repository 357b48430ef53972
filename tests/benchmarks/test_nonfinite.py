"""The benchmark of the first non-finite value: labels, twins, and an oracle on six programs."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from nonfinite.check import check  # noqa: E402
from nonfinite.corpus import KINDS, PHASES, STYLES, programs  # noqa: E402

PROGRAMS = programs()
CHECKED = (
    "adam_in_half",
    "constant_column",
    "polar_angle",
    "soft_targets_kl",
    "square_root_branch",
    "survival_hazard",
)
"""Fast programs with a fault in each phase; `benchmarks/nonfinite/check.py` checks all programs."""


def name_of(program):
    return program.name


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_a_program_and_its_twin_differ_and_have_the_same_line_numbers(program):
    broken, fixed = (text.splitlines() for text in (program.broken(), program.fixed()))
    assert broken != fixed
    assert len(broken) == len(fixed)
    for text in (program.broken(), program.fixed()):
        compile(text, program.name, "exec")
        assert not any(mark in text for mark in ("<- here", "# broken", "# fixed", "# truth"))


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_the_labels_are_complete(program):
    assert program.truth.phase in PHASES
    assert program.style in STYLES
    assert program.kind in KINDS
    assert program.truth.lines
    assert 0 <= program.truth.step < 60


def test_the_programs_cover_phases_kinds_and_styles():
    assert {program.truth.phase for program in PROGRAMS} == {*PHASES}
    assert len(PROGRAMS) >= 60
    operations = [min(program.truth.operations) for program in PROGRAMS]
    assert len({*operations}) >= 20
    assert {program.kind for program in PROGRAMS} == {*KINDS}
    assert {program.style for program in PROGRAMS} == {*STYLES}


@pytest.mark.parametrize("name", CHECKED)
def test_the_first_fault_is_as_labelled_and_the_twin_trains(name, tmp_path):
    (program,) = [program for program in PROGRAMS if program.name == name]
    fault, problems = check(program, tmp_path)
    assert fault is not None
    assert problems == []
