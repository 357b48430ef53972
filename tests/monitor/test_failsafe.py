"""A failure of gradlab gives one warning, and does not change the training."""

import pytest
import torch
from torch import nn

import gradlab
from gradlab.monitor import monitor as monitor_module
from gradlab.monitor import signals
from tests.monitor.loops import batches, mlp, train


def broken(*args, **kwargs):
    raise ArithmeticError("no such number\nand more")


def fail_from(call, function):
    """Return a function that fails from the given call on."""
    calls = 0

    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        return function(*args, **kwargs) if calls < call else broken()

    return wrapped


def train_six_steps(watched):
    model, data = mlp(), batches(6)
    optimizer = torch.optim.Adam(model.parameters())
    if not watched:
        train(model, optimizer, data)
        return model, None
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    return model, monitor


@pytest.mark.parametrize(
    "owner_and_name", [(monitor_module, "measure"), (signals, "mean_std"), (signals, "norm_of")]
)
def test_after_a_failure_of_gradlab_training_continues(owner_and_name, monkeypatch):
    expected, _ = train_six_steps(watched=False)
    monkeypatch.setattr(*owner_and_name, fail_from(3, getattr(*owner_and_name)))
    with pytest.warns(UserWarning, match="gradlab failed") as warned:
        model, monitor = train_six_steps(watched=True)
    assert len(warned) == len(monitor.notes) == 1
    assert "continues. ArithmeticError: no such number (test_failsafe.py:" in monitor.notes[0]
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(p, q)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_steps_recorded_before_a_failure_remain(monkeypatch, tmp_path):
    monkeypatch.setattr(monitor_module, "measure", fail_from(3, monitor_module.measure))
    with pytest.warns(UserWarning, match="gradlab failed"):
        _, monitor = train_six_steps(watched=True)
    assert monitor.steps()["step"].tolist() == [0, 1]
    assert monitor.report(tmp_path / "out").exists()


def test_exceptions_in_the_users_code_are_raised():
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters())
    with gradlab.watch(model, optimizer), pytest.raises(ArithmeticError):
        optimizer.step(broken)


def test_parameters_without_a_gradient_may_be_clipped():
    model = nn.ModuleDict({"used": mlp(), "spare": nn.Linear(3, 3)})
    model["used"][0].requires_grad_(False)
    trainable = [p for p in model["used"].parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        for x, y in batches(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model["used"](x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    assert monitor.steps()["step"].tolist() == [0, 1]
