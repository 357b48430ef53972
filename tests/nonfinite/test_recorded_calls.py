"""Recorded calls live as long as the graph, and leave training and torch's state as they are."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from gradlab.nonfinite import guard as guards
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.nonfinite.recorded_calls import CallRecorder, calls_of


def stack() -> list[object]:
    return [type(mode).__name__ for mode in _get_current_function_mode_stack()]


def test_calls_are_recorded_at_the_outermost_level_and_in_order():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    recorder = CallRecorder()
    with recorder.observe():
        out = model(torch.randn(5, 3))
        loss = (out.square() + 1).mean()
    names = [getattr(c.function, "__name__", type(c.function).__name__) for c in calls_of([loss])]
    assert names == ["Sequential", "square", "add", "mean"]


def test_a_graph_without_a_backward_pass_leaves_nothing():
    model, recorder = nn.Linear(3, 3), CallRecorder()
    with recorder.observe():
        x = torch.randn(5, 3)
        hidden = model(x)
        hidden += 1
        hidden[0] = 0
        buffer = torch.zeros(5, 3)
        buffer[1:] = hidden[1:]
        buffer.mul_(hidden)
        loss = (buffer * hidden).sum()
        alive = [weakref.ref(t) for t in (x, hidden, buffer, loss)]
        node = loss.grad_fn
        assert calls_of([loss])
        marker = Marker()
        node.metadata["marker"] = marker
        alive.append(weakref.ref(marker))
        del x, hidden, buffer, loss, node, marker
        gc.disable()
        try:
            assert [ref() for ref in alive] == [None] * len(alive)
        finally:
            gc.enable()


class Marker:
    """Lives as long as the node that holds it."""


def test_contexts_of_the_user_may_begin_before_and_end_inside():
    recorder, device = CallRecorder(), torch.device("cpu")
    before = stack()
    device.__enter__()
    context = recorder.observe()
    context.__enter__()
    assert stack() == ["CallRecorder", "DeviceContext"]
    device.__exit__(None, None, None)
    assert stack() == ["CallRecorder"]
    with torch.device("meta"):
        assert torch.zeros(1).device.type == "meta"
        context.__exit__(None, None, None)
        assert stack() == ["DeviceContext"]
    assert stack() == before


def test_an_exception_in_a_module_leaves_the_recorder_on():
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("refused")

    model, recorder, p = nn.Sequential(Fails()), CallRecorder(), nn.Parameter(torch.ones(1))
    with recorder.observe():
        with pytest.raises(ValueError, match="refused"):
            model(p)
        assert stack() == ["CallRecorder"]
        assert len(calls_of([torch.exp(p)])) == 1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(inplace=True), nn.Dropout(0.3)]
    return nn.Sequential(*layers, nn.Linear(12, 3))


def train(guarded: bool, scale: float = 1.0) -> tuple[list[Tensor], int]:
    """Train for some steps; with a scale, some losses are not finite and their step is left out."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    guard = NonfiniteGuard(lambda: dict(model.named_parameters()), dict, lambda: 0)
    recorder = guard.observe()
    if guarded:
        recorder.__enter__()
    for step in range(6):
        x, y = torch.randn(8, 6), torch.randint(3, (8,))
        out = model(x)
        out *= scale if step % 2 else 1.0
        loss = nn.functional.cross_entropy(out, y) + 0.1 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        if loss.isfinite():
            optimizer.step()
    if guarded:
        recorder.__exit__(None, None, None)
    tensors = [*model.state_dict().values(), torch.get_rng_state()]
    return [t.clone() for t in tensors], len(guard.faults)


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_training_is_the_same_to_the_last_bit_also_where_a_fault_is_located(scale):
    with_guard, faults = train(True, scale)
    without, _ = train(False, scale)
    assert bool(faults) == (scale > 1)
    for a, b in zip(with_guard, without, strict=True):
        assert torch.equal(a, b)


def test_on_other_devices_the_check_waits_for_the_update(monkeypatch):
    monkeypatch.setattr(guards, "_waits", lambda roots: True)
    p = nn.Parameter(torch.tensor([0.0, 1.0]))
    optimizer = torch.optim.SGD([p], lr=0.1)
    allowed = []
    guard = NonfiniteGuard(lambda: {"p": p}, dict, lambda: 3, may_wait=lambda: bool(allowed))
    with guard.observe():
        torch.sqrt(p).sum().backward()
        assert not guard.faults
        allowed.append(1)
        optimizer.step()
    (fault,) = guard.faults
    assert (fault.operation, fault.step) == ("sqrt", 3)


def test_a_fault_in_a_step_that_did_not_wait_is_reported_without_a_place(monkeypatch):
    monkeypatch.setattr(guards, "_waits", lambda roots: True)
    p = nn.Parameter(torch.tensor([0.0, 1.0]))
    optimizer = torch.optim.SGD([p], lr=0.0)
    allowed = []
    guard = NonfiniteGuard(lambda: {"p": p}, dict, lambda: 3, may_wait=lambda: bool(allowed))
    with guard.observe():
        torch.sqrt(p).sum().backward()
        optimizer.step()
        allowed.append(1)
        optimizer.zero_grad()
        optimizer.step()
    (fault,) = guard.faults
    assert fault.stage == "unknown"


def test_an_exception_in_the_guard_ends_the_checks_and_not_the_training():
    p, errors = nn.Parameter(torch.ones(1)), []

    def fails() -> dict[str, Tensor]:
        raise RuntimeError("broken")

    guard = NonfiniteGuard(fails, dict, lambda: 0, on_failure=errors.append)
    with guard.observe():
        for _ in range(2):
            (p * 2).sum().backward()
    assert p.grad.item() == 4
    assert len(errors) == 1


def test_a_compiled_network_is_repeated_without_the_compiler():
    model = nn.Sequential(nn.Linear(2, 2))
    compiled = torch.compile(model, backend="eager")
    guard = NonfiniteGuard(lambda: dict(model.named_parameters()), dict, lambda: 0)
    with guard.observe(model.modules()):
        compiled(torch.randn(4, 2)).square().mean().backward()
        assert not guard.faults
        torch.log(compiled(torch.randn(4, 2)) * 0).mean().backward()
    assert guard.faults[0].operation == "log"
