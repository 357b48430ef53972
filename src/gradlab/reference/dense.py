"""A fully-connected network and its backpropagation, in matrix form.

Samples are rows. For the layers l = 1..L, with A_0 = X [B, n_0]:

    Z_l = A_{l-1} W_l + b_l       [B, n_l]        A_l = phi_l(Z_l)

and from dLoss/dA_L backwards, where d stands for dLoss/d and the loss is a mean over the batch:

    dZ_l = dA_l ⊙ phi_l'(Z_l)     [B, n_l]
    dW_l = A_{l-1}ᵀ dZ_l          [n_{l-1}, n_l]  a sum over the samples
    db_l = 1ᵀ dZ_l                [n_l]           a sum over the samples
    dA_{l-1} = dZ_l W_lᵀ          [B, n_{l-1}]

(Rumelhart, Hinton & Williams 1986). W is [n_in, n_out]: the transpose of torch's `weight`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradlab.reference.activation_functions import Activation, Array
from gradlab.reference.loss_functions import Loss


@dataclass(frozen=True)
class Dense:
    """A layer's parameters: W [n_in, n_out], b [n_out], and its activation."""

    W: Array
    b: Array
    phi: Activation


@dataclass(frozen=True)
class Cache:
    """The arrays of a layer's forward pass: A_prev [B, n_in], Z and A [B, n_out]."""

    A_prev: Array
    Z: Array
    A: Array


@dataclass(frozen=True)
class Gradients:
    """The arrays of a layer's backward pass; dX = dLoss/dX has the shape of X.

    Attributes:
        dA: dLoss/dA, [B, n_out], which the layer receives.
        dZ: dLoss/dZ, the error signal, [B, n_out].
        dW: dLoss/dW, [n_in, n_out], a sum over the samples.
        db: dLoss/db, [n_out], a sum over the samples.
        dA_prev: dLoss/dA_prev, [B, n_in], which the layer passes on.
    """

    dA: Array
    dZ: Array
    dW: Array
    db: Array
    dA_prev: Array


Rule = Callable[[Dense, Cache, Array], Gradients]


def layer_forward(layer: Dense, A_prev: Array) -> Cache:
    """Return Z = A_prev W + b and A = phi(Z)."""
    Z = A_prev @ layer.W + layer.b
    return Cache(A_prev, Z, layer.phi.f(Z))


def layer_backward(layer: Dense, cache: Cache, dA: Array) -> Gradients:
    """Return the gradients of one layer (Rumelhart, Hinton & Williams 1986).

    Args:
        layer: the layer.
        cache: the arrays of its forward pass.
        dA: dLoss/dA at its output, [B, n_out].

    Returns:
        dZ, dW, db and dA_prev; dW and db are sums over the samples.
    """
    dZ = dA * layer.phi.derivative(cache.Z)
    dW = cache.A_prev.T @ dZ
    db = dZ.sum(axis=0)
    dA_prev = dZ @ layer.W.T
    return Gradients(dA, dZ, dW, db, dA_prev)


def forward(layers: Sequence[Dense], X: Array) -> list[Cache]:
    """Return the cache of every layer; the network's output is the last cache's A."""
    caches: list[Cache] = []
    for layer in layers:
        caches.append(layer_forward(layer, caches[-1].A if caches else X))
    return caches


def backward(
    layers: Sequence[Dense], caches: Sequence[Cache], dA: Array, rules: Sequence[Rule] | None = None
) -> list[Gradients]:
    """Return the gradients of every layer, from the last layer to the first.

    Args:
        layers: layers 1..L.
        caches: the arrays of their forward passes.
        dA: dLoss/dA_L, [B, n_L].
        rules: replaces `layer_backward`, one rule for each layer.

    Returns:
        The gradients of layers 1..L; dW and db are sums over the samples.
    """
    rules = rules or [layer_backward] * len(layers)
    grads: list[Gradients] = []
    for layer, cache, rule in zip(layers[::-1], caches[::-1], rules[::-1], strict=True):
        grads.append(rule(layer, cache, grads[-1].dA_prev if grads else dA))
    return grads[::-1]


def loss_and_gradients(
    layers: Sequence[Dense], X: Array, Y: Array, loss: Loss
) -> tuple[float, list[Gradients]]:
    """Return the loss on a batch and the gradients of every layer.

    Args:
        layers: layers 1..L.
        X: inputs, [B, n_0].
        Y: targets: class indices [B], or numbers [B, n_L].
        loss: the loss, a mean over the samples.

    Returns:
        The loss, and the gradients of layers 1..L.
    """
    caches = forward(layers, X)
    output = caches[-1].A
    return loss.value(output, Y), backward(layers, caches, loss.derivative(output, Y))


def descend(layers: Sequence[Dense], grads: Sequence[Gradients], lr: float) -> list[Dense]:
    """Return the layers after one step of gradient descent.

    Args:
        layers: layers 1..L.
        grads: their gradients.
        lr: the learning rate.

    Returns:
        New layers with W - lr dW and b - lr db.
    """
    return [
        replace(layer, W=layer.W - lr * g.dW, b=layer.b - lr * g.db)
        for layer, g in zip(layers, grads, strict=True)
    ]


def train(
    layers: Sequence[Dense], X: Array, Y: Array, loss: Loss, lr: float, steps: int
) -> tuple[list[Dense], list[float]]:
    """Train by gradient descent on the whole batch.

    Args:
        layers: layers 1..L.
        X: inputs, [B, n_0].
        Y: targets: class indices [B], or numbers [B, n_L].
        loss: the loss, a mean over the samples.
        lr: the learning rate.
        steps: the number of steps.

    Returns:
        The layers after the last step, and the loss before each step.
    """
    layers, losses = list(layers), list[float]()
    for _ in range(steps):
        value, grads = loss_and_gradients(layers, X, Y, loss)
        losses.append(value)
        layers = descend(layers, grads, lr)
    return layers, losses
