"""Backpropagation by hand in NumPy, float64: the independent computation the recorder is held to.

Written from the equations alone; shares no code with gradlab.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

PHI = {
    "sigmoid": (expit, lambda z: expit(z) * (1 - expit(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "gelu": (
        lambda z: z * 0.5 * (1 + erf(z / np.sqrt(2))),
        lambda z: 0.5 * (1 + erf(z / np.sqrt(2))) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
}
GRID = np.linspace(-30, 30, 600_001)


def softmax_cross_entropy(logits, classes):
    shifted = logits - logits.max(1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    onehot = np.eye(logits.shape[1])[classes]
    n = len(logits)
    return -logp[np.arange(n), classes].mean(), (np.exp(logp) - onehot) / n


def mean_squared_error(output, target):
    return ((output - target) ** 2).mean(), 2 * (output - target) / output.size


def binary_cross_entropy(logits, target):
    loss = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    return loss.mean(), (expit(logits) - target) / logits.size


@dataclass
class Step:
    loss: float
    weight_grads: list
    bias_grads: list
    columns: list  # one dict of the schema's columns per layer, input first


def step(weights, biases, x, target, activation, loss) -> Step:
    """One forward and backward pass: weights[l] is [n_out, n_in], the loss a mean over a batch."""
    phi, dphi = PHI[activation]
    count = len(weights)
    a, zs, activations = x, [], [x]
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = a @ w.T + b
        a = phi(z) if index < count - 1 else z
        zs.append(z)
        activations.append(a)
    value, da = loss(a, target)
    dws, dbs, columns = [None] * count, [None] * count, [None] * count
    for index in reversed(range(count)):
        hidden = index < count - 1
        slope = dphi(zs[index]) if hidden else np.ones_like(zs[index])
        dz = da * slope
        dws[index], dbs[index] = dz.T @ activations[index], dz.sum(0)
        back = dz @ weights[index]
        highest = np.abs(dphi(GRID)).max() if hidden else 1.0
        columns[index] = {
            "weight_grad_norm": np.sqrt((dws[index] ** 2).sum()),
            "bias_grad_norm": np.sqrt((dbs[index] ** 2).sum()),
            "delta_norm": np.sqrt((dz**2).sum()),
            "act_grad_norm": np.sqrt((da**2).sum()),
            "act_factor": np.sqrt((dz**2).sum() / (da**2).sum()),
            "weight_factor": np.sqrt((back**2).sum() / (dz**2).sum()),
            "norm_factor": 1.0,
            "preact_mean": zs[index].mean(),
            "preact_std": zs[index].std(),
            "act_mean": activations[index + 1].mean(),
            "act_std": activations[index + 1].std(),
            "saturated": (np.abs(slope) < 0.05 * highest).mean(),
            "dead": (slope == 0).all(0).mean(),
            "weight_norm": np.sqrt((weights[index] ** 2).sum()),
            "grad_zeros": (dws[index] == 0).mean(),
            "grad_nonfinite": 0.0,
        }
        da = back
    return Step(value, dws, dbs, columns)
