"""A run that diverges names the operation and the layer; its training stays bit-identical."""

import json

import pytest
import torch

from gradlab.diagnosis.diagnose import diagnose
from gradlab.runs.run import Label, run
from gradlab.training import loop as loops
from tests.configs import settings, train

COMMON = {"model__depth": 4, "train__steps": 30, "record__every": 8}
DIVERGING = settings(**COMMON, optim__lr=1e12, model__activation="relu", seed=0)
STABLE = settings(**COMMON, model__activation="relu", seed=1)


def test_the_fault_names_layer_operation_and_step():
    loop, _ = train(DIVERGING)
    (outcome,) = loop.history.outcomes
    fault = outcome.fault
    assert (fault["operation"], fault["stage"]) == ("linear", "forward")
    assert fault["module"] == outcome.first_nonfinite["module"]
    assert fault["step"] == outcome.first_nonfinite["step"] == outcome.steps - 1
    assert "exceeds 3.4e+38" in fault["reason"]
    assert fault["exact"]


def test_a_member_of_a_stack_has_the_fault_of_a_single_run():
    alone, _ = train(DIVERGING)
    stack, _ = train(STABLE, DIVERGING)
    keys = ("operation", "module", "step", "stage")
    one, other = alone.history.outcomes[0].fault, stack.history.outcomes[1].fault
    assert [one[key] for key in keys] == [other[key] for key in keys]
    assert stack.history.outcomes[0].fault is None


def test_an_overflow_of_the_loss_function_has_no_layer():
    run_of_mse = settings(**COMMON, data="diabetes", loss="mse", optim__lr=1e4)
    loop, _ = train(run_of_mse)
    fault = loop.history.outcomes[0].fault
    assert fault["operation"] in ("mse_loss", "linear")
    assert (fault["module"] is None) == (fault["operation"] == "mse_loss")


@pytest.mark.parametrize("members", [(DIVERGING,), (STABLE, DIVERGING)])
def test_the_training_has_the_same_bits_without_the_location(members, monkeypatch):
    located, sinks = train(*members)
    monkeypatch.setattr(loops, "locate_member", lambda *_: None)
    plain, plain_sinks = train(*members)
    assert torch.equal(located.stack.parameters.memory, plain.stack.parameters.memory)
    for one, other in zip(sinks, plain_sinks, strict=True):
        assert str(one.steps("loss")) == str(other.steps("loss"))
        assert str(one.steps("grad_norm")) == str(other.steps("grad_norm"))


def test_a_step_that_cannot_be_repeated_leaves_the_location_out(monkeypatch, caplog):
    def refuse(*_):
        raise RuntimeError("no copies")

    monkeypatch.setattr("gradlab.training.locate_member._network_of", refuse)
    with caplog.at_level("INFO"):
        loop, _ = train(DIVERGING)
    assert loop.history.outcomes[0].fault is None
    assert loop.history.outcomes[0].status == "diverged"
    assert "the step cannot be repeated: no copies" in caplog.text


def test_run_json_has_the_fault_and_its_finding(tmp_path):
    info = run(DIVERGING, tmp_path / "run", Label("run"))
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    (fault,) = written["nonfinite"]["faults"]
    finding = written["findings"][0]
    assert finding["kind"] == "overflow"
    assert f"`linear`, in module `{fault['module']}`, received values up to" in finding["cause"]
    assert finding["since"] == fault["step"]
    assert any(remedy.startswith("optim.lr=") for remedy in finding["remedies"])
    assert diagnose(tmp_path / "run")[0].cause == finding["cause"] == info["findings"][0]["cause"]
