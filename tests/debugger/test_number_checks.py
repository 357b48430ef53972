"""The doctor names the operation of the first inf or NaN, also after its observed steps."""

import torch
from torch import nn

from gradlab.debugger.examine import examine
from gradlab.debugger.trainings import ScriptTraining


def program(late: int = 0, half: bool = False, fixed: bool = False):
    """Return a program with an infinite gradient from a step on, or a division by 0 in Adam."""

    def train():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
        model = layers.half() if half else layers
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4 if fixed else 1e-8)
        for step in range(40):
            x, y = torch.randn(32, 6), torch.randint(3, (32,))
            out = model(x.half() if half else x).float()
            if step == late and not half:
                distance = (out - out.detach()).square().sum(1)
                out = out * torch.sqrt(distance + 1e-9 if fixed else distance)[:, None]
            loss = nn.functional.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def kinds(**options):
    training = ScriptTraining(program(**options))
    return examine(training, training.first_run())


def test_a_gradient_that_becomes_infinite_after_the_observed_steps_is_located():
    (finding,) = kinds(late=20)
    assert finding.kind == "inf_or_nan"
    assert "`sqrt`" in finding.what
    assert "received 0" in finding.what
    assert "torch.sqrt(distance" in finding.where
    assert finding.evidence.startswith("at step 20 the gradients of 4 of 4 parameters")


def test_the_arithmetic_of_the_optimiser_is_named_with_its_line():
    (finding,) = kinds(half=True)
    assert finding.kind == "inf_or_nan"
    assert "eps=1e-08 is 0 in float16" in finding.what
    assert finding.where.endswith("optimizer.step()")


def test_sound_programs_have_no_such_finding():
    assert [each.kind for each in kinds(late=20, fixed=True)] == []
