"""The optimiser of a stack makes the updates of torch's plain one, in every dtype."""

import pytest
import torch

from gradlab.config.choices import Component
from gradlab.training.optimizer import Updates


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop"])
def test_its_updates_are_those_of_the_plain_form(name, dtype):
    start = (torch.randn(3, 8, 5) * torch.logspace(-3, 3, 5)).to(dtype)
    block, plain = start.clone(), start.clone().requires_grad_()
    optim = Component(name, f"torch.optim.{name}", {"lr": 0.01})
    ours = Updates([optim] * 3, [block])
    its = getattr(torch.optim, name)([plain], lr=0.01, foreach=False)
    for _ in range(4):
        gradient = (torch.randn(3, 8, 5) * torch.logspace(-2, 2, 5)).to(dtype)
        ours.step([gradient.clone()])
        plain.grad = gradient.clone()
        its.step()
    moved = (plain.detach() - start).abs().double()
    bound = 1e-6 * moved.amax((0, 1)) if dtype == torch.float32 else 1e-14 * moved.amax((0, 1))
    assert moved.amax() > 0
    assert ((block.double() - plain.detach().double()).abs() <= bound).all()
