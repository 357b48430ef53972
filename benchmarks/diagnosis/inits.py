"""Initialisations that give a network a known fault.

Each is named by its dotted path: with `benchmarks` on PYTHONPATH,
`gradlab run model.init=diagnosis.inits.constant`. All begin with He's weights and no biases.
"""

import math

import torch
from torch import Generator, Tensor, nn

from gradlab.models.feedforward import Layer
from gradlab.models.init import variance_scaling


def _he(model: nn.Module, x: Tensor, generator: Generator, gain: float = math.sqrt(2)) -> list:
    variance_scaling(model, x, generator, gain=gain, fan="in", distribution="normal")
    return [module.linear for module in model.modules() if isinstance(module, Layer)]


@torch.no_grad()
def dead_layer(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Push every unit of the middle hidden layer 100 below its threshold."""
    linears = _he(model, x, generator)
    linears[len(linears) // 2 - 1].bias.fill_(-100.0)


@torch.no_grad()
def dead_first(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Push every unit of the first layer 100 below its threshold."""
    _he(model, x, generator)[0].bias.fill_(-100.0)


@torch.no_grad()
def nearly_dead_layer(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Push 61 of 64 units of the middle hidden layer 100 below their threshold."""
    linears = _he(model, x, generator)
    bias = linears[len(linears) // 2 - 1].bias
    bias[: len(bias) * 61 // 64] = -100.0


@torch.no_grad()
def nearly_dead(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Push 61 of 64 units of every hidden layer 100 below their threshold; scale the others up.

    By sqrt(64 / 3), so that the few that live carry the whole signal.
    """
    *hidden, out = _he(model, x, generator)
    for linear in hidden:
        linear.bias[: len(linear.bias) * 61 // 64] = -100.0
    for linear in [*hidden[1:], out]:
        linear.weight.mul_(math.sqrt(64 / 3))


@torch.no_grad()
def saturated_layer(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Multiply the middle hidden layer's weights by 25, and divide no other."""
    linears = _he(model, x, generator, gain=1.0)
    linears[len(linears) // 2 - 1].weight.mul_(25.0)


def saturating_biases(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Give every hidden unit a bias of 6 or -6, in turn."""
    _lean(model, x, generator, 6.0, -6.0)


def leaning_biases(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Give every hidden unit a bias of 4 or -4, in turn."""
    _lean(model, x, generator, 4.0, -4.0)


def below(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Give every hidden unit a bias of -4."""
    _lean(model, x, generator, -4.0, -4.0)


def far_below(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Give every hidden unit a bias of -8: phi' of elu, softplus and sigmoid is about exp(-8)."""
    _lean(model, x, generator, -8.0, -8.0)


@torch.no_grad()
def _lean(model: nn.Module, x: Tensor, generator: Generator, odd: float, even: float) -> None:
    *hidden, _ = _he(model, x, generator, gain=1.0)
    for linear in hidden:
        linear.bias[::2] = even
        linear.bias[1::2] = odd


@torch.no_grad()
def heavy_middle(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Multiply the middle hidden layer's weights by 60.

    Before a normalisation this changes no output; the layer's gradient is divided by 60.
    """
    linears = _he(model, x, generator)
    linears[len(linears) // 2 - 1].weight.mul_(60.0)


@torch.no_grad()
def heavy_first(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Multiply the first layer's weights by 40."""
    _he(model, x, generator)[0].weight.mul_(40.0)


@torch.no_grad()
def heavy_last(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Multiply the last hidden layer's weights by 60."""
    _he(model, x, generator)[-2].weight.mul_(60.0)


@torch.no_grad()
def seesaw(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Divide the second layer's weights by 50 and multiply the third's by 50.

    ReLU is positively homogeneous, so that no output changes; the third layer's gradient is divided
    by 50, and its weights are 50 times as large.
    """
    linears = _he(model, x, generator)
    linears[1].weight.div_(50.0)
    linears[2].weight.mul_(50.0)


@torch.no_grad()
def constant(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Set every weight of a layer to the same number, of the size of He's."""
    for linear in _he(model, x, generator):
        linear.weight.fill_(1 / linear.in_features)


@torch.no_grad()
def clones(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Give all units of a layer the same random weights in and the same weights out."""
    first, *rest = _he(model, x, generator)
    first.weight.copy_(first.weight[:1].expand_as(first.weight))
    for linear in rest[:-1]:
        linear.weight.fill_(1 / linear.in_features)
    out = rest[-1].weight
    out.copy_(out[:, :1].expand_as(out) / math.sqrt(out.shape[1]))
