"""Every mistake of the catalogue: the broken form has the symptom, the fixed form does not."""

import math
import sys
from pathlib import Path
from types import CodeType

import pytest
import torch

from gradlab.mistakes import cases
from gradlab.mistakes.catalogue import CATALOGUE
from gradlab.mistakes.mistake import Bound, Symptom, differing_lines, prove

NAMES = [mistake.name for mistake in CATALOGUE]
FILES = {file.stem for file in Path(cases.__file__).parent.glob("[!_]*.py")}

each = pytest.mark.parametrize("mistake", CATALOGUE, ids=NAMES)


def test_the_catalogue_contains_every_file_once():
    assert len(NAMES) == len(FILES) >= 20
    assert {*NAMES} == FILES


@pytest.mark.parametrize("seed", [0, 1, 2])
@each
def test_the_proof_holds(mistake, seed):
    proof, bound = prove(mistake, seed), mistake.bound
    assert proof.holds, proof.summary
    assert proof.broken.name == proof.fixed.name
    broken = proof.broken.value
    assert broken < bound.low / 1.3 or broken > 1.3 * bound.high or math.isnan(broken)


@each
def test_equal_seeds_build_equal_programs_and_keep_the_generator(mistake):
    before = torch.get_rng_state()
    for form in (mistake.broken, mistake.fixed):
        one, other = form(seed=5), form(seed=5)
        pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert len(one.batches) == len(other.batches) > 0
    assert prove(mistake, 5) == prove(mistake, 5)
    assert torch.equal(torch.get_rng_state(), before)


def code_objects(subject) -> set[CodeType]:
    """Return the code objects of a function, or of the methods of a class."""
    parts = vars(subject).values() if isinstance(subject, type) else [subject]
    functions = [getattr(part, "__func__", part) for part in parts]
    return {f.__code__ for f in functions if hasattr(f, "__code__")}


def run(mistake, form) -> set[CodeType]:
    """Return the code objects that run while a form is built and measured."""
    ran: set[CodeType] = set()
    sys.setprofile(lambda frame, event, arg: ran.add(frame.f_code))
    try:
        mistake.symptom(form())
    finally:
        sys.setprofile(None)
    return ran


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
@each
def test_the_pages_show_the_code_that_runs(mistake):
    broken, fixed = map(code_objects, mistake.code)
    ran = run(mistake, mistake.broken)
    assert broken & ran
    assert not fixed & ran
    ran = run(mistake, mistake.fixed)
    assert fixed & ran
    assert not broken & ran


@each
def test_the_forms_differ_in_a_few_lines(mistake):
    broken, fixed = differing_lines(mistake)
    assert 1 <= sum(differs for _, differs in broken + fixed) <= 6
    assert [line for line, differs in broken[1:] if not differs] == [
        line for line, differs in fixed[1:] if not differs
    ]


@each
def test_the_explanations_are_complete_and_short(mistake):
    for text in (mistake.why, mistake.fix):
        assert text[-1] in ".`)"
        assert 20 < len(text) < 420
    assert mistake.source


@pytest.mark.parametrize(
    ("bound", "text", "inside", "outside"),
    [
        (Bound(high=2), "at most 2", [2, -1e9, 0], [2.1, math.nan, math.inf]),
        (Bound(low=2), "at least 2", [2, 1e9, math.inf], [1.9, math.nan]),
        (Bound(1, 3), "1 to 3", [1, 3], [0.9, 3.1, math.nan]),
        (Bound(5, 5), "5", [5], [4.9, 5.1, math.nan]),
    ],
)
def test_a_bound_is_described_and_excludes_nan(bound, text, inside, outside):
    assert str(bound) == text
    assert all(bound.contains(Symptom("", value)) for value in inside)
    assert not any(bound.contains(Symptom("", value)) for value in outside)
