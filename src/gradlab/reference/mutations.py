"""Wrong backward passes: mistakes that people make, each a few characters away from the right code.

A mutation of layer l replaces the backward pass of that layer, or the derivative of the loss. The
rest stays right. Every gradient that is computed after the mistake is wrong too, so the check has
to find the first wrong one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradlab.reference.activation_functions import Array
from gradlab.reference.dense import (
    Cache,
    Dense,
    Gradients,
    Rule,
    backward,
    forward,
    layer_backward,
)
from gradlab.reference.loss_functions import Loss, rows

Slope = Callable[[Loss, Array, Array], Array]


@dataclass(frozen=True)
class Mutation:
    """A mistake in a backward pass.

    Attributes:
        name: the mistake, in words.
        written: the wrong line of code.
        enters: the first wrong quantity, as the gradient check calls it.
        loss: the loss with which the mistake is tested.
        rule: makes the wrong `layer_backward` from (layers, caches, l); None if the layer is right.
        slope: computes the wrong dLoss/dA_L; None if the derivative of the loss is right.
    """

    name: str
    written: str
    enters: str
    loss: str = "cross_entropy"
    rule: Callable[[Sequence[Dense], Sequence[Cache], int], Rule] | None = None
    slope: Slope | None = None

    def backward(
        self, layers: Sequence[Dense], X: Array, Y: Array, loss: Loss, mutated: int
    ) -> list[Gradients]:
        """Return the gradients of every layer, with the mistake in one layer.

        Args:
            layers: layers 1..L.
            X: inputs, [B, n_0].
            Y: targets: class indices [B], or numbers [B, n_L].
            loss: the loss, a mean over the samples.
            mutated: the index of the wrong layer; 0 is the first layer.

        Returns:
            The gradients of layers 1..L.
        """
        caches = forward(layers, X)
        rules: list[Rule] = [layer_backward] * len(layers)
        if self.rule is not None:
            rules[mutated] = self.rule(layers, caches, mutated)
        slope = self.slope or (lambda loss, output, target: loss.derivative(output, target))
        return backward(layers, caches, slope(loss, caches[-1].A, Y), rules)


def _from(layer: Dense, cache: Cache, dA: Array, dZ: Array) -> Gradients:
    """Return the gradients that follow from a dZ that may be wrong.

    Args:
        layer: the layer.
        cache: the arrays of its forward pass.
        dA: dLoss/dA, [B, n_out].
        dZ: dLoss/dZ, right or wrong, [B, n_out].

    Returns:
        dW, db and dA_prev, computed from dZ.
    """
    return Gradients(dA, dZ, cache.A_prev.T @ dZ, dZ.sum(axis=0), dZ @ layer.W.T)


def _local(change: Callable[[Dense, Cache, Gradients], Gradients]) -> Callable[..., Rule]:
    """Return a maker of rules: a rule computes the right gradients, then applies `change`."""

    def make(layers: Sequence[Dense], caches: Sequence[Cache], l: int) -> Rule:
        return lambda layer, cache, dA: change(layer, cache, layer_backward(layer, cache, dA))

    return make


def _next_layers_weights(layers: Sequence[Dense], caches: Sequence[Cache], l: int) -> Rule:
    """Return a rule that computes dA_prev with the weights of the next layer.

    Args:
        layers: layers 1..L.
        caches: the arrays of their forward passes.
        l: the index of the wrong layer.

    Returns:
        The wrong rule.
    """

    def rule(layer: Dense, cache: Cache, dA: Array) -> Gradients:
        right = layer_backward(layer, cache, dA)
        return replace(right, dA_prev=right.dZ @ layers[l + 1].W.T)

    return rule


def _earlier_preactivation(layers: Sequence[Dense], caches: Sequence[Cache], l: int) -> Rule:
    """Return a rule that evaluates phi' at the pre-activation of the layer before.

    Args:
        layers: layers 1..L.
        caches: the arrays of their forward passes.
        l: the index of the wrong layer.

    Returns:
        The wrong rule.
    """

    def rule(layer: Dense, cache: Cache, dA: Array) -> Gradients:
        return _from(layer, cache, dA, dA * layer.phi.derivative(caches[l - 1].Z))

    return rule


def _diagonal_softmax(loss: Loss, output: Array, target: Array) -> Array:
    """Return dLoss/dA_L with only the diagonal of the softmax's Jacobian.

    Args:
        loss: the loss; not used.
        output: logits, [B, n].
        target: class indices [B], or numbers [B, n].

    Returns:
        The wrong dLoss/doutput, [B, n], with the factor 1/B.
    """
    y = rows(target, output)
    z = output - output.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -y / p * (p * (1 - p)) / len(output)


MUTATIONS = (
    Mutation(
        "transposed matrix",
        "dA_prev = dZ @ W",
        "dA_prev",
        rule=_local(lambda layer, cache, g: replace(g, dA_prev=g.dZ @ layer.W)),
    ),
    Mutation(
        "missing 1/B",
        "dA = softmax(z) - y",
        "dLoss/dA",
        slope=lambda loss, output, target: loss.derivative(output, target) * len(output),
    ),
    Mutation(
        "wrong sign",
        "dW = -A_prev.T @ dZ",
        "dW",
        rule=_local(lambda layer, cache, g: replace(g, dW=-g.dW)),
    ),
    Mutation(
        "forgotten phi'",
        "dZ = dA",
        "dZ",
        rule=_local(lambda layer, cache, g: _from(layer, cache, g.dA, g.dA)),
    ),
    Mutation(
        "phi' at a instead of z",
        "dZ = dA * dphi(A)",
        "dZ",
        rule=_local(
            lambda layer, cache, g: _from(layer, cache, g.dA, g.dA * layer.phi.derivative(cache.A))
        ),
    ),
    Mutation(
        "bias gradient not summed over the batch",
        "db = dZ",
        "db",
        rule=_local(lambda layer, cache, g: replace(g, db=g.dZ)),
    ),
    Mutation(
        "bias gradient averaged once more",
        "db = dZ.mean(axis=0)",
        "db",
        rule=_local(lambda layer, cache, g: replace(g, db=g.dZ.mean(axis=0))),
    ),
    Mutation(
        "wrong layer's input",
        "dW = A.T @ dZ",
        "dW",
        rule=_local(lambda layer, cache, g: replace(g, dW=cache.A.T @ g.dZ)),
    ),
    Mutation(
        "factor 2 of the squared error",
        "dA = (A - y) / (B n)",
        "dLoss/dA",
        loss="mse",
        slope=lambda loss, output, target: loss.derivative(output, target) / 2,
    ),
    Mutation(
        "softmax Jacobian off the diagonal",
        "dA = -y / p * p * (1 - p) / B",
        "dLoss/dA",
        slope=_diagonal_softmax,
    ),
    Mutation(
        "sigmoid's derivative left in",
        "dA = (p - y) * p * (1 - p) / (B n)",
        "dLoss/dA",
        loss="bce",
        slope=lambda loss, output, target: (
            loss.derivative(output, target) / (np.exp(output / 2) + np.exp(-output / 2)) ** 2
        ),
    ),
    Mutation(
        "clipped gradient",
        "dW = clip(dW, -c, c)",
        "dW",
        rule=_local(
            lambda layer, cache, g: replace(
                g, dW=np.clip(g.dW, -np.abs(g.dW).mean(), np.abs(g.dW).mean())
            )
        ),
    ),
    Mutation(
        "off by one: the next layer's weights",
        "dA_prev = dZ @ W[l + 1].T",
        "dA_prev",
        rule=_next_layers_weights,
    ),
    Mutation(
        "off by one: the layer before's z",
        "dZ = dA * dphi(Z[l - 1])",
        "dZ",
        rule=_earlier_preactivation,
    ),
    Mutation(
        "detached branch",
        "dA_prev = 0",
        "dA_prev",
        rule=_local(lambda layer, cache, g: replace(g, dA_prev=np.zeros_like(g.dA_prev))),
    ),
    Mutation(
        "gradient accumulated over two passes",
        "dW += A_prev.T @ dZ",
        "dW",
        rule=_local(lambda layer, cache, g: replace(g, dW=2 * g.dW)),
    ),
)
