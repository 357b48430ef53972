"""The expected columns of the recorder at one step, computed by `gradlab.reference`.

`gradlab.reference` uses only NumPy and the equations, and shares no code with the recorder.
"""

from dataclasses import dataclass

import numpy as np

from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import Dense, backward, forward
from gradlab.reference.loss_functions import LOSSES

GRID = np.linspace(-30, 30, 600_001)


@dataclass
class Step:
    loss: float
    weight_grads: list
    bias_grads: list
    columns: list  # one dict of the schema's columns per layer, input first


def step(weights, biases, x, target, activation, loss) -> Step:
    """Compute a forward and a backward pass; weights[l] is [n_out, n_in], the loss a mean."""
    names = [activation] * (len(weights) - 1) + ["identity"]
    layers = [
        Dense(w.T, b, ACTIVATIONS[name]) for w, b, name in zip(weights, biases, names, strict=True)
    ]
    caches = forward(layers, x)
    output = caches[-1].A
    grads = backward(layers, caches, LOSSES[loss]().derivative(output, target))
    columns = [columns_of(*each) for each in zip(layers, caches, grads, strict=True)]
    value = LOSSES[loss]().value(output, target)
    return Step(value, [g.dW.T for g in grads], [g.db for g in grads], columns)


def columns_of(layer, cache, g):
    slope = layer.phi.derivative(cache.Z)
    steepest = np.abs(layer.phi.derivative(GRID)).max()
    return {
        "weight_grad_norm": norm(g.dW),
        "bias_grad_norm": norm(g.db),
        "delta_norm": norm(g.dZ),
        "act_grad_norm": norm(g.dA),
        "act_factor": norm(g.dZ) / norm(g.dA),
        "weight_factor": norm(g.dA_prev) / norm(g.dZ),
        "norm_factor": 1.0,
        "preact_mean": cache.Z.mean(),
        "preact_std": cache.Z.std(),
        "act_mean": cache.A.mean(),
        "act_std": cache.A.std(),
        "saturated": (np.abs(slope) < 0.05 * steepest).mean(),
        "dead": (slope == 0).all(0).mean(),
        "weight_norm": norm(layer.W),
        "weight_count": layer.W.size,
        "unit_spread": spread(g.dW),
        "grad_zeros": (g.dW == 0).mean(),
        "grad_nonfinite": 0.0,
    }


def spread(dW):
    """Return the distance of the units (columns) from their mean; NaN for one unit."""
    return norm(dW - dW.mean(1, keepdims=True)) / norm(dW) if dW.shape[1] > 1 else np.nan


def norm(x):
    return np.sqrt((x**2).sum())
