"""Linear maps in a stack agree with torch; their gradients have the layout of the weights."""

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F

from gradlab.training.stack import ContiguousLinear, linear


def draw(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_value_and_gradients_equal_those_of_torch(bias):
    ours = [t.requires_grad_() for t in (draw(5, 3), draw(4, 3), draw(4))][: 2 + bias]
    torchs = [t.detach().clone().requires_grad_() for t in ours]
    for function, inputs in ((linear, ours), (F.linear, torchs)):
        function(*inputs).square().sum().backward()
    torch.testing.assert_close(linear(*ours), F.linear(*ours), rtol=1e-14, atol=1e-14)
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-13, atol=1e-13)
    assert torch.autograd.gradcheck(linear, tuple(ours))


def weight_grad(open_mode):
    weight = draw(6, 4, 3).requires_grad_()
    grads = []
    weight.register_hook(grads.append)
    with open_mode():
        vmap(F.linear)(draw(6, 5, 3), weight, draw(6, 4)).square().sum().backward()
    return grads[0]


class NoMode:
    """A context manager without effect."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_in_a_stack_the_weight_gradient_is_contiguous():
    assert weight_grad(ContiguousLinear).is_contiguous()
    assert not weight_grad(
        NoMode
    ).is_contiguous()  # if this fails, ContiguousLinear is no longer needed
    torch.testing.assert_close(weight_grad(ContiguousLinear), weight_grad(NoMode))


def test_the_mode_replaces_linear_only_for_matrices_and_only_while_open():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for x in (draw(5, 3), draw(3), draw(2, 5, 3)):
        expected = model(x)
        with ContiguousLinear():
            found = model(x)
            named = F.linear(x, weight=model[0].weight)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(named, F.linear(x, model[0].weight))
        assert (found.stride(-1) != 1) == (x.ndim == 2)
    assert model(draw(5, 3)).stride(-1) == 1
