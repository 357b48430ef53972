"""The monitor names the operation at which the first inf or NaN begins, and skipped steps."""

import pytest
import torch
from torch import Tensor, nn

import gradlab
from tests.monitor.loops import batches, mlp

RELATIVE = "tests/monitor/test_nonfinite_numbers.py"


class Net(nn.Module):
    """A network whose gradient is infinite from a step on: the root of exactly 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.calls = mlp(), 0

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        self.calls += 1
        return torch.sqrt((out - out.detach()).abs()) if self.calls == 4 else out


def train(model: nn.Module, steps: int = 6, **options: object) -> gradlab.Monitor:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, **options) as monitor:
        for x, y in batches(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return monitor


@pytest.mark.parametrize("every", [1, 5])
def test_the_first_operation_its_line_module_and_step_are_the_verdict(every):
    torch.manual_seed(0)
    monitor = train(Net(), every=every)
    finding = monitor.findings[0]
    line = Net.forward.__code__.co_firstlineno + 3
    assert finding.kind == "overflow"
    assert finding.since == 3
    assert finding.cause.startswith(f"`sqrt` at {RELATIVE}:{line}, in module `model`")
    assert "received 0; the gradients of 6 of 6 parameters are NaN or inf" in finding.cause
    assert finding.remedies == ("torch.sqrt(x.clamp(min=1e-12))",)


def test_a_sound_network_has_no_finding_and_the_checks_can_be_turned_off():
    assert train(mlp()).findings == []
    monitor = train(Net(), locate=False)
    assert "sqrt" not in str(monitor)


def scaled(overflow: bool, steps: int = 14) -> gradlab.Monitor:
    """Train with a GradScaler; with `overflow`, the loss is inf in every step."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4 if overflow else 2.0**127)
    with gradlab.watch(model, optimizer) as monitor:
        for x, y in batches(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss = torch.exp(loss + 100) if overflow else 8 * loss
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return monitor


def test_a_scaler_that_skips_every_step_is_not_healthy():
    monitor = scaled(overflow=True)
    first, second = monitor.findings
    assert (first.kind, first.since, first.cause_of) == ("overflow", 0, ("skipped",))
    assert first.cause.startswith("`exp` at ")
    assert second.kind == "skipped"
    assert second.cause.startswith("a GradScaler skipped every step (14): nothing has been learnt")
    assert "overflow" in str(monitor)
    assert "skipped" in monitor._repr_html_()
    assert gradlab.diagnose(monitor) == monitor.findings


def test_a_scaler_that_finds_its_scale_gives_no_finding():
    monitor = scaled(overflow=False)
    assert "a GradScaler skipped" in monitor.notes[0]
    assert {finding.severity for finding in monitor.findings} <= {"note"}


def test_a_record_on_disk_has_the_same_findings(tmp_path):
    torch.manual_seed(0)
    monitor = train(Net())
    monitor.report(tmp_path / "out")
    assert gradlab.diagnose(tmp_path / "out") == monitor.findings
    assert "`sqrt`" in monitor.findings[0].cause
