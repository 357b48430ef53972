"""The chain rule factor by factor, for one sample: from the loss back to one weight.

A gradient is a sum over paths. From W_l[i, j] a path leads through unit k_l = j and one unit k_m of
each later layer to an output k_L, and its share is the product

    dLoss/da_L[k_L] · Π_{m=L..l+1} phi'(z_m[k_m]) W_m[k_{m-1}, k_m] · phi'(z_l[j]) · a_{l-1}[i]

dLoss/dW_l[i, j] is the sum over all Π_{m>l} n_m paths, which the matrix form takes at once. Layers
are counted from 1, as in the equations; units from 0, as in the arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.reference.activation_functions import Array
from gradlab.reference.dense import Cache, Dense, Gradients, backward, descend, forward
from gradlab.reference.loss_functions import Loss

Weight = tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """One sample's pass forward and back: X [1, n_0], the loss, and every layer's arrays."""

    layers: Sequence[Dense]
    X: Array
    Y: Array
    loss: Loss
    value: float
    caches: Sequence[Cache]
    grads: Sequence[Gradients]

    @property
    def output(self) -> Array:
        """a_L, [n_L]."""
        return self.caches[-1].A[0]


@dataclass(frozen=True)
class ChainFactor:
    """One factor of a path.

    `kind` is "loss" (dLoss/da_L), "slope" (phi'), "weight" (W_m) or "input" (a_{l-1}); `layer` and
    `units` are its position.
    """

    kind: str
    layer: int
    units: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Path:
    """A path from the loss to a weight; the product of its factors is its share of the gradient."""

    factors: Sequence[ChainFactor]

    @property
    def product(self) -> float:
        """The path's share of dLoss/dW."""
        return float(np.prod([factor.value for factor in self.factors]))


@dataclass(frozen=True)
class Step:
    """One step of gradient descent of rate `lr`: changes predicted to first order, and measured."""

    lr: float
    loss_predicted: float
    loss_measured: float
    output_predicted: float
    output_measured: float


def run(layers: Sequence[Dense], X: Array, Y: Array, loss: Loss) -> Sample:
    """Pass one sample forward and back."""
    caches = forward(layers, X)
    output = caches[-1].A
    grads = backward(layers, caches, loss.derivative(output, Y))
    return Sample(layers, X, Y, loss, loss.value(output, Y), caches, grads)


def most_blamed(sample: Sample, layer: int) -> Weight:
    """Return the weight (i, j) of a layer whose gradient is largest in size."""
    dW = sample.grads[layer - 1].dW
    i, j = np.unravel_index(np.abs(dW).argmax(), dW.shape)
    return int(i), int(j)


def strongest_path(sample: Sample, layer: int, weight: Weight) -> Path:
    """Return the path from the loss to W_l[i, j] whose share is largest in size.

    Found backwards, layer by layer: the best way on from a unit does not depend on how it is
    reached.
    """
    slopes = [_slope(sample, m) for m in range(1, len(sample.layers) + 1)]
    best = sample.grads[-1].dA[0] * slopes[-1]  # [n_L]: from z_L[k] to the loss
    ways: list[Array] = []
    for m in range(len(sample.layers), layer, -1):
        through = sample.layers[m - 1].W * best  # [n_{m-1}, n_m]
        way = np.abs(through).argmax(axis=1)
        ways.append(way)
        best = slopes[m - 2] * through[np.arange(len(way)), way]
    units = [weight[1]]
    for way in reversed(ways):
        units.append(int(way[units[-1]]))
    return _along(sample, layer, weight, units, slopes)


def paths(sample: Sample, layer: int) -> int:
    """Return how many paths lead from a weight of a layer to the loss."""
    return int(np.prod([float(later.W.shape[1]) for later in sample.layers[layer:]]))


def decades(sample: Sample) -> tuple[Array, Array]:
    """Return log10 of each layer's act_factor and weight_factor, [L] each.

    ‖dLoss/da_0‖ = ‖dLoss/da_L‖ · Π act_factor_l · weight_factor_l. A factor of 0 gives -inf; one of
    0/0, NaN.
    """
    norms = [(_norm(g.dA), _norm(g.dZ), _norm(g.dA_prev)) for g in sample.grads]
    with np.errstate(divide="ignore", invalid="ignore"):
        above, here, below = np.log10(np.array(norms).T)
        return here - above, below - here


def blame(sample: Sample) -> list[Array]:
    """Return each layer's |dLoss/dW| as shares of the sum over all weights; all 0 if all are 0."""
    sizes = [np.abs(g.dW) for g in sample.grads]
    total = sum(float(size.sum()) for size in sizes)
    return [size / total if total > 0 else size for size in sizes]


def step(sample: Sample, lr: float, output: int) -> Step:
    """Take one step of gradient descent on the sample's loss, and see what becomes of output k.

    To first order the loss changes by -lr ‖g‖², and the output by -lr g·h, where g and h are the
    gradients of the loss and of the output in all weights and biases.
    """
    one = np.zeros_like(sample.caches[-1].A)
    one[0, output] = 1.0
    of_output = backward(sample.layers, sample.caches, one)
    after = run(descend(sample.layers, sample.grads, lr), sample.X, sample.Y, sample.loss)
    return Step(
        lr=lr,
        loss_predicted=-lr * _dot(sample.grads, sample.grads),
        loss_measured=after.value - sample.value,
        output_predicted=-lr * _dot(sample.grads, of_output),
        output_measured=float(after.output[output] - sample.output[output]),
    )


def _along(
    sample: Sample, layer: int, weight: Weight, units: Sequence[int], slopes: Sequence[Array]
) -> Path:
    last = len(sample.layers)
    factors = [ChainFactor("loss", last, (units[-1],), float(sample.grads[-1].dA[0, units[-1]]))]
    for m in range(last, layer - 1, -1):
        unit = units[m - layer]
        factors.append(ChainFactor("slope", m, (unit,), float(slopes[m - 1][unit])))
        if m > layer:
            before = units[m - layer - 1]
            W = sample.layers[m - 1].W
            factors.append(ChainFactor("weight", m, (before, unit), float(W[before, unit])))
    into = float(sample.caches[layer - 1].A_prev[0, weight[0]])
    return Path([*factors, ChainFactor("input", layer - 1, (weight[0],), into)])


def _slope(sample: Sample, layer: int) -> Array:
    """phi'(z_l), [n_l]."""
    return sample.layers[layer - 1].phi.derivative(sample.caches[layer - 1].Z)[0]


def _dot(a: Sequence[Gradients], b: Sequence[Gradients]) -> float:
    pairs = zip(a, b, strict=True)
    return float(sum((x.dW * y.dW).sum() + (x.db * y.db).sum() for x, y in pairs))


def _norm(x: Array) -> float:
    largest = np.abs(x).max(initial=0.0)
    return float(largest * np.linalg.norm(x / largest)) if largest > 0 else 0.0
