"""The chain rule factor by factor, for one sample: from the loss back to one weight.

A gradient is a sum over paths. From W_l[i, j] a path leads through unit k_l = j, then through one
unit k_m of each later layer, to an output k_L. The path contributes the product

    dLoss/da_L[k_L] · Π_{m=L..l+1} phi'(z_m[k_m]) W_m[k_{m-1}, k_m] · phi'(z_l[j]) · a_{l-1}[i]

dLoss/dW_l[i, j] is the sum over all Π_{m>l} n_m paths. The matrix form of backpropagation computes
this sum at once. Layers count from 1, as in the equations; units count from 0, as in the arrays.
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
    """The forward and backward pass of one sample.

    Attributes:
        layers: layers 1..L.
        X: the sample, [1, n_0].
        Y: its target.
        loss: the loss.
        value: the loss of the sample.
        caches: the arrays of each layer's forward pass.
        grads: the arrays of each layer's backward pass.
    """

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

    Attributes:
        kind: "loss" (dLoss/da_L), "slope" (phi'), "weight" (W_m) or "input" (a_{l-1}).
        layer: the layer, counted from 1; 0 is the input.
        units: the unit, or for a weight the two units that it connects.
        value: the factor.
    """

    kind: str
    layer: int
    units: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Path:
    """A path from the loss to a weight; the product of its factors is its part of the gradient."""

    factors: Sequence[ChainFactor]

    @property
    def product(self) -> float:
        """The path's part of dLoss/dW."""
        return float(np.prod([factor.value for factor in self.factors]))


@dataclass(frozen=True)
class Step:
    """One step of gradient descent: predicted (to first order) and measured changes.

    Attributes:
        lr: the learning rate.
        loss_predicted: predicted change of the loss.
        loss_measured: measured change of the loss.
        output_predicted: predicted change of one output.
        output_measured: measured change of that output.
    """

    lr: float
    loss_predicted: float
    loss_measured: float
    output_predicted: float
    output_measured: float


def compute_passes(layers: Sequence[Dense], X: Array, Y: Array, loss: Loss) -> Sample:
    """Compute the forward and the backward pass of one sample.

    Args:
        layers: layers 1..L.
        X: the sample, [1, n_0].
        Y: its target: a class index [1], or numbers [1, n_L].
        loss: the loss.

    Returns:
        The loss and the arrays of both passes.
    """
    caches = forward(layers, X)
    output = caches[-1].A
    grads = backward(layers, caches, loss.derivative(output, Y))
    return Sample(layers, X, Y, loss, loss.value(output, Y), caches, grads)


def find_largest_gradient(sample: Sample, layer: int) -> Weight:
    """Return the weight (i, j) of a layer whose gradient has the largest absolute value."""
    dW = sample.grads[layer - 1].dW
    i, j = np.unravel_index(np.abs(dW).argmax(), dW.shape)
    return int(i), int(j)


def strongest_path(sample: Sample, layer: int, weight: Weight) -> Path:
    """Return the path from the loss to W_l[i, j] whose product has the largest absolute value.

    The search goes backwards, layer by layer: the best continuation from a unit does not depend on
    the way to it.

    Args:
        sample: the passes of the sample.
        layer: l, counted from 1.
        weight: (i, j), the input unit and the output unit, counted from 0.

    Returns:
        The factors from the loss to the input.
    """
    slopes = [_slope(sample, m) for m in range(1, len(sample.layers) + 1)]
    best = sample.grads[-1].dA[0] * slopes[-1]  # [n_L]: from z_L[k] to the loss
    ways: list[Array] = []  # for each unit, the best unit of the next layer
    for m in range(len(sample.layers), layer, -1):
        through = sample.layers[m - 1].W * best  # [n_{m-1}, n_m]
        following = np.abs(through).argmax(axis=1)
        ways.append(following)
        best = slopes[m - 2] * through[np.arange(len(following)), following]
    units = [weight[1]]
    for following in reversed(ways):
        units.append(int(following[units[-1]]))
    return _path_through(sample, layer, weight, units, slopes)


def count_paths(sample: Sample, layer: int) -> int:
    """Return the number of paths from a weight of a layer to the loss."""
    return int(np.prod([float(later.W.shape[1]) for later in sample.layers[layer:]]))


def factor_decades(sample: Sample) -> tuple[Array, Array]:
    """Return log10 of each layer's act_factor and weight_factor, [L] each.

    ‖dLoss/da_0‖ = ‖dLoss/da_L‖ · Π act_factor_l · weight_factor_l. The logarithm of a factor 0 is
    -inf, of 0/0 NaN.
    """
    norms = [(_norm(g.dA), _norm(g.dZ), _norm(g.dA_prev)) for g in sample.grads]
    with np.errstate(divide="ignore", invalid="ignore"):
        above, here, below = np.log10(np.array(norms).T)
        return here - above, below - here


def gradient_shares(sample: Sample) -> list[Array]:
    """Return each layer's |dLoss/dW|, divided by the sum over all weights; 0 if all are 0."""
    sizes = [np.abs(g.dW) for g in sample.grads]
    total = sum(float(size.sum()) for size in sizes)
    return [size / total if total > 0 else size for size in sizes]


def take_step(sample: Sample, lr: float, output: int) -> Step:
    """Take one step of gradient descent on the sample's loss; measure its effect on one output.

    To first order, the loss changes by -lr ‖g‖² and the output by -lr g·h. Here g and h are the
    gradients of the loss and of the output with respect to all weights and biases.

    Args:
        sample: the passes of the sample.
        lr: the learning rate.
        output: the index of the output, counted from 0.

    Returns:
        Predicted and measured changes of the loss and of the output.
    """
    one_hot = np.zeros_like(sample.caches[-1].A)
    one_hot[0, output] = 1.0
    output_grads = backward(sample.layers, sample.caches, one_hot)
    after = compute_passes(
        descend(sample.layers, sample.grads, lr), sample.X, sample.Y, sample.loss
    )
    return Step(
        lr=lr,
        loss_predicted=-lr * _dot(sample.grads, sample.grads),
        loss_measured=after.value - sample.value,
        output_predicted=-lr * _dot(sample.grads, output_grads),
        output_measured=float(after.output[output] - sample.output[output]),
    )


def _path_through(
    sample: Sample, layer: int, weight: Weight, units: Sequence[int], slopes: Sequence[Array]
) -> Path:
    """Return the path through the given units.

    Args:
        sample: the passes of the sample.
        layer: l, counted from 1.
        weight: (i, j) of W_l.
        units: one unit of each of the layers l..L.
        slopes: phi'(z_m) of every layer m = 1..L, [n_m] each.

    Returns:
        The factors from the loss to the input.
    """
    last = len(sample.layers)
    factors = [ChainFactor("loss", last, (units[-1],), float(sample.grads[-1].dA[0, units[-1]]))]
    for m in range(last, layer - 1, -1):
        unit = units[m - layer]
        factors.append(ChainFactor("slope", m, (unit,), float(slopes[m - 1][unit])))
        if m > layer:
            before = units[m - layer - 1]
            W = sample.layers[m - 1].W
            factors.append(ChainFactor("weight", m, (before, unit), float(W[before, unit])))
    a_prev = float(sample.caches[layer - 1].A_prev[0, weight[0]])
    return Path([*factors, ChainFactor("input", layer - 1, (weight[0],), a_prev)])


def _slope(sample: Sample, layer: int) -> Array:
    """Return phi'(z_l), [n_l]."""
    return sample.layers[layer - 1].phi.derivative(sample.caches[layer - 1].Z)[0]


def _dot(a: Sequence[Gradients], b: Sequence[Gradients]) -> float:
    pairs = zip(a, b, strict=True)
    return float(sum((x.dW * y.dW).sum() + (x.db * y.db).sum() for x, y in pairs))


def _norm(x: Array) -> float:
    largest = np.abs(x).max(initial=0.0)
    return float(largest * np.linalg.norm(x / largest)) if largest > 0 else 0.0
