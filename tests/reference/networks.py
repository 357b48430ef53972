"""Random networks and batches of the reference, by activation and loss."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from gradlab.config import choices
from gradlab.config.choices import component, pick
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import Dense
from gradlab.reference.loss_functions import LOSSES

SHAPES = {  # widths, samples
    "plain": ([4, 6, 5, 3], 8),
    "one sample": ([3, 5, 5, 4], 1),
    "one unit": ([2, 1, 1, 2], 5),
    "hourglass": ([7, 9, 2, 8, 3], 6),
}


def layers(widths, phi, rng, gain=1.4):
    names = [phi] * (len(widths) - 2) + ["identity"]
    return [
        Dense(gain * rng.normal(size=(n, m)) / np.sqrt(n), 0.1 * rng.normal(size=m), ACTIVATIONS[p])
        for (n, m), p in zip(pairwise(widths), names, strict=True)
    ]


def batch(widths, samples, loss, rng):
    X = rng.normal(size=(samples, widths[0]))
    if loss in ("mse", "huber"):
        return X, 2 * rng.normal(size=(samples, widths[-1]))
    return X, rng.integers(0, widths[-1], samples)


def in_torch(network):
    """The same network as a torch module, float64."""
    modules = []
    for layer in network:
        linear = nn.Linear(*layer.W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.W.T))
            linear.bias.copy_(torch.from_numpy(layer.b))
        modules += [linear, pick("model/activation", layer.phi.name).call()]
    return nn.Sequential(*modules)


def torch_loss(name):
    return component(choices.load("loss", name), ("scale", "tasks")).call


def numpy_loss(name):
    """The loss by hand, with the parameters that ship for the one in torch."""
    content = choices.load("loss", name)
    aside = ("name", "_target_", "scale", "tasks")
    return LOSSES[name](**{k: v for k, v in content.items() if k not in aside})
