"""The doctor finds mistakes in broken trainings, and nothing in correct trainings."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gradlab
from gradlab.debugger.code_finding import print_findings
from gradlab.debugger.entry_point import load_training
from gradlab.debugger.examine import doctor, examine
from gradlab.debugger.observe.source_lines import SourceLine
from gradlab.errors import ExaminationError
from tests.debugger import broken, correct


def findings(function):
    training, trace = load_training(function)
    return examine(training, trace)


@pytest.mark.parametrize(
    ("kind", "training"), broken.CASES, ids=lambda each: getattr(each, "__name__", each)
)
def test_mistakes_in_many_styles_are_found(kind, training):
    found = findings(training)
    assert [each.kind for each in found] == [kind]
    assert all(each.where and each.evidence and each.instead for each in found)


@pytest.mark.parametrize("training", correct.TRAININGS, ids=lambda each: each.__name__)
def test_a_correct_training_has_no_finding(training):
    assert findings(training) == []


def line_in_broken(line):
    return str(SourceLine(broken.__file__, line))


def line_of(words):
    lines = Path(broken.__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if words in line)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (broken.clips_late, "torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)"),
        (broken.assigns_a_column, "h[:, 0] = 0.0"),
        (broken.writes_its_states, "states[:, t + 1] = self.cell(x, states[:, t])"),
        (broken.stores_a_total, "loss = F.cross_entropy(model(x), y)  # its graph is stored"),
        (broken.summed_in_a_loop, "return sum(F.cross_entropy(model(x[[k]])"),
        (broken.through_data, "lambda h: h.data"),
        (broken.ranking, "return -torch.log(torch.sigmoid(100 * (good - bad)))"),
        (broken.sunk_biases, "return self.b(self.a(x).clamp(min=0))"),
        (broken.softmax_in_the_loop, "F.cross_entropy(F.softmax("),
    ],
)
def test_a_finding_contains_the_line(training, words):
    (found,) = findings(training)
    assert f"broken.py:{line_of(words)}" in found.where


def test_a_finding_contains_the_line_of_eval():
    (found,) = findings(broken.evaluated_once)
    assert (
        f"eval() was last called at {line_in_broken(line_of('    model.eval()'))}" in found.evidence
    )


def test_a_finding_contains_the_names_of_weights():
    (found,) = findings(broken.encoder_left_out)
    names, _, made = found.where.partition("; the optimiser: ")
    assert names == "encoder.0.weight, encoder.0.bias, encoder.2.weight, encoder.2.bias"
    assert f"broken.py:{line_of('optimizer = make(')}" in made
    (found,) = findings(broken.dict_of_experts)
    assert found.where == "Experts.experts (dict)"


def test_labels_of_minus_one_and_one_are_not_reported_as_shifted():
    x, y = correct.blobs(classes=2)
    model = nn.Linear(10, 1)

    def step(model, optimizer, batch):
        inputs, targets = batch
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(inputs), targets).backward()
        optimizer.step()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for targets in (2 * y - 1, 2 * y):
        batch = x, targets.float().unsqueeze(1)
        assert "shifted_labels" not in [e.kind for e in doctor(step, model, optimizer, batch)]


def test_the_public_function_describes_a_finding():
    model = nn.Linear(3, 1)
    batch = torch.randn(8, 3), torch.randn(8)

    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()

    (found,) = gradlab.doctor(step, model, torch.optim.SGD(model.parameters(), lr=0.1), batch)
    assert found.kind == "broadcast_target"
    assert "outputs [8, 1] against targets [8] gives 8 x 8 differences" in found.evidence
    assert str(found).splitlines()[0].startswith("broadcast_target: ")


def test_an_unknown_error_of_a_step_is_reported_in_one_line():
    model = nn.Linear(3, 1)

    def step(model, optimizer, batch):
        raise KeyError("labels")

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ExaminationError, match=r"test_examine\.py:\d+: KeyError: 'labels'"):
        doctor(step, model, optimizer, torch.ones(2, 3))


def test_a_step_without_an_update_is_an_error():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ExaminationError, match=r"optimizer\.step\(\) is not run"):
        doctor(lambda m, o, b: m(b), model, optimizer, torch.ones(2, 3))
    with pytest.raises(ExaminationError, match="expected a batch"):
        doctor(lambda m, o, b: None, model, optimizer, [])


def test_the_checked_mistakes_are_printed_if_nothing_is_found(capsys):
    print_findings([])
    assert "nothing found in the first updates; looked for: " in capsys.readouterr().out
