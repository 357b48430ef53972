"""Initialisations that make a pathology by construction."""

import torch

from gradlab.models.init import default, variance_scaling


def linears(model):
    return [layer.linear for layer in model.layers]


@torch.no_grad()
def constant(model, x, generator):
    """Every weight of a map is the same: all units of a layer are one."""
    for linear in linears(model):
        linear.weight.fill_(1 / linear.in_features)
        linear.bias.zero_()


@torch.no_grad()
def almost_constant(model, x, generator):
    """The same with a tenth of noise: the units are different ones."""
    variance_scaling(model, x, generator, gain=1.0, fan="in", distribution="normal")
    for linear in linears(model):
        linear.weight.add_(1 / linear.in_features)


@torch.no_grad()
def shifted(model, x, generator):
    """Biases of the second layer so low that its ReLUs are off for every sample."""
    default(model, x, generator, gain=1.0)
    linears(model)[1].bias.fill_(-100.0)


@torch.no_grad()
def one_huge_layer(model, x, generator):
    """The third map 300 times larger, the fourth smaller by as much: the same function."""
    variance_scaling(model, x, generator, gain=2**0.5, fan="in", distribution="normal")
    linears(model)[2].weight.mul_(300)
    linears(model)[3].weight.mul_(1 / 300)
