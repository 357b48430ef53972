"""A failure of the watching is told once; the training does not notice it."""

import pytest
import torch
from torch import nn

import gradlab
from gradlab.monitor import monitor as of_monitor
from gradlab.monitor import signals
from tests.monitor.loops import batches, mlp, train


def broken(*args, **kwargs):
    raise ArithmeticError("no such number\nand more")


def failing_from(call, work):
    """Return `work`, which fails from a call on."""
    made = 0

    def worked(*args, **kwargs):
        nonlocal made
        made += 1
        return work(*args, **kwargs) if made < call else broken()

    return worked


def trained(watched):
    model, data = mlp(), batches(6)
    optimizer = torch.optim.Adam(model.parameters())
    if not watched:
        train(model, optimizer, data)
        return model, None
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    return model, monitor


@pytest.mark.parametrize(
    "place", [(of_monitor, "measure"), (signals, "mean_std"), (signals, "size_of")]
)
def test_the_training_goes_on(place, monkeypatch):
    expected, _ = trained(watched=False)
    monkeypatch.setattr(*place, failing_from(3, getattr(*place)))
    with pytest.warns(UserWarning, match="watching failed") as told:
        model, monitor = trained(watched=True)
    assert len(told) == len(monitor.notes) == 1
    assert "the record ends: ArithmeticError: no such number (test_failsafe.py:" in monitor.notes[0]
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(p, q)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_was_recorded_before_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(of_monitor, "measure", failing_from(3, of_monitor.measure))
    with pytest.warns(UserWarning, match="watching failed"):
        _, monitor = trained(watched=True)
    assert monitor.steps()["step"].tolist() == [0, 1]
    assert monitor.report(tmp_path / "out").exists()


def test_the_users_own_failures_stay_theirs():
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters())
    with gradlab.watch(model, optimizer), pytest.raises(ArithmeticError):
        optimizer.step(broken)


def test_parameters_without_a_gradient_may_be_clipped():
    model = nn.ModuleDict({"used": mlp(), "spare": nn.Linear(3, 3)})
    model["used"][0].requires_grad_(False)
    learning = [p for p in model["used"].parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        for x, y in batches(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model["used"](x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    assert monitor.steps()["step"].tolist() == [0, 1]
