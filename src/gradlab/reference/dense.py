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
    """What a layer remembers of its forward pass: A_prev [B, n_in], Z and A [B, n_out]."""

    A_prev: Array
    Z: Array
    A: Array


@dataclass(frozen=True)
class Gradients:
    """What a layer makes of dA, the gradient that reaches its output; dX has the shape of X."""

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
    """Return dZ, dW, db and dA_prev of one layer, from dA at its output."""
    dZ = dA * layer.phi.derivative(cache.Z)
    dW = cache.A_prev.T @ dZ
    db = dZ.sum(axis=0)
    dA_prev = dZ @ layer.W.T
    return Gradients(dA, dZ, dW, db, dA_prev)


def forward(layers: Sequence[Dense], X: Array) -> list[Cache]:
    """Return every layer's cache; the network's output is the last one's A."""
    caches: list[Cache] = []
    for layer in layers:
        caches.append(layer_forward(layer, caches[-1].A if caches else X))
    return caches


def backward(
    layers: Sequence[Dense], caches: Sequence[Cache], dA: Array, rules: Sequence[Rule] | None = None
) -> list[Gradients]:
    """Return every layer's gradients, from dLoss/dA_L; `rules` replaces each `layer_backward`."""
    rules = rules or [layer_backward] * len(layers)
    grads: list[Gradients] = []
    for layer, cache, rule in zip(layers[::-1], caches[::-1], rules[::-1], strict=True):
        grads.append(rule(layer, cache, grads[-1].dA_prev if grads else dA))
    return grads[::-1]


def loss_and_gradients(
    layers: Sequence[Dense], X: Array, Y: Array, loss: Loss
) -> tuple[float, list[Gradients]]:
    """Return the loss on a batch, a mean over its samples, and every layer's gradients."""
    caches = forward(layers, X)
    output = caches[-1].A
    return loss.value(output, Y), backward(layers, caches, loss.derivative(output, Y))


def descend(layers: Sequence[Dense], grads: Sequence[Gradients], lr: float) -> list[Dense]:
    """Return the layers after one step of gradient descent: W - lr dW, b - lr db."""
    return [
        replace(layer, W=layer.W - lr * g.dW, b=layer.b - lr * g.db)
        for layer, g in zip(layers, grads, strict=True)
    ]


def train(
    layers: Sequence[Dense], X: Array, Y: Array, loss: Loss, lr: float, steps: int
) -> tuple[list[Dense], list[float]]:
    """Return the layers after `steps` of gradient descent on all of X, and the loss before each."""
    layers, losses = list(layers), list[float]()
    for _ in range(steps):
        value, grads = loss_and_gradients(layers, X, Y, loss)
        losses.append(value)
        layers = descend(layers, grads, lr)
    return layers, losses
