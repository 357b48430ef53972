"""The check of a network written by hand: the whole pass, and each equation of it on its own.

An equation is checked from the gradient that reaches it, right or wrong: dZ_l must be the
derivative of Σ dA_l ⊙ phi(Z_l) with respect to Z_l for the dA_l it was given. So an error is seen
where it enters, and what it makes of everything before it does not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gradlab.errors import CheckError
from gradlab.gradcheck.comparison import compare
from gradlab.gradcheck.gradient_report import GradientReport, Options, Row
from gradlab.pages.page import aligned_lines
from gradlab.reference.activation_functions import ACTIVATIONS, Array
from gradlab.reference.dense import Dense, Gradients, backward, forward
from gradlab.reference.loss_functions import LOSSES, Loss
from gradlab.reference.mutations import MUTATIONS, Mutation

Backward = Callable[[Sequence[Dense], Array, Array, Loss], Sequence[Gradients]]


def right_backward(layers: Sequence[Dense], X: Array, Y: Array, loss: Loss) -> Sequence[Gradients]:
    """Return every layer's gradients by the reference's own backward pass."""
    caches = forward(layers, X)
    return backward(layers, caches, loss.derivative(caches[-1].A, Y))


def check_network(
    layers: Sequence[Dense],
    x: Array,
    y: Array,
    loss: Loss,
    options: Options,
    backward: Backward = right_backward,
) -> GradientReport:
    """Check the gradient of every W, b and the input, in float64; `backward` is on trial."""
    layers = [Dense(_double(layer.W), _double(layer.b), layer.phi) for layer in layers]
    X, Y, options = _double(x), _numbers(y), options.of_parameters()
    try:
        value = loss.value(forward(layers, X)[-1].A, Y)
        grads = backward(layers, X, Y, loss)
    except (IndexError, TypeError, ValueError) as error:
        told = f"inputs {list(X.shape)} and targets {list(np.shape(Y))} do not fit the network"
        raise CheckError(f"{told}: {str(error).splitlines()[0]}") from error
    if not np.isfinite(value):
        raise CheckError(f"the loss is {value}: there is no gradient to check")

    def f() -> float:
        return loss.value(forward(layers, X)[-1].A, Y)

    arrays = [("input", X, grads[0].dA_prev)]
    for l, (layer, g) in enumerate(zip(layers, grads, strict=True), start=1):
        arrays += [(f"layer {l}: W", layer.W, g.dW), (f"layer {l}: b", layer.b, g.db)]
    options = options.beside(analytic for *_, analytic in arrays)
    rows = [compare(name, f, array, analytic, options) for name, array, analytic in arrays]
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options)
    local = check_steps(layers, X, Y, loss, grads, options)
    told = {row.name.replace(": d", ": ") for row in local if row.resolved}
    if all(row.resolved for row in local if row.name.endswith(("dZ", "dA_prev", "dA"))):
        told.add("input")
    covered = [row.name for row in rows if not row.resolved and row.name in told]
    enters = [row.name for row in local if row.wrong]
    return GradientReport(rows, options, local, enters, covered=covered)


def check_steps(
    layers: Sequence[Dense],
    X: Array,
    Y: Array,
    loss: Loss,
    grads: Sequence[Gradients],
    options: Options,
) -> list[Row]:
    """Check each equation of a backward pass on its own, from the loss to the input."""
    caches = forward(layers, X)
    output = caches[-1].A.copy()
    rows = [
        _row("the loss: dLoss/dA", lambda: loss.value(output, Y), output, grads[-1].dA, options)
    ]
    for l in reversed(range(len(layers))):
        layer, g = layers[l], grads[l]
        Z, A_prev, W, b = (v.copy() for v in (caches[l].Z, caches[l].A_prev, layer.W, layer.b))
        through_phi = partial(_through_phi, layer, Z, _unit(g.dA))
        through_map = partial(_through_map, A_prev, W, b, _unit(g.dZ))
        for name, f, array, analytic, upstream in (
            ("dZ", through_phi, Z, g.dZ, g.dA),
            ("dW", through_map, W, g.dW, g.dZ),
            ("db", through_map, b, g.db, g.dZ),
            ("dA_prev", through_map, A_prev, g.dA_prev, g.dZ),
        ):
            claimed = analytic / _size(upstream)
            rows.append(_row(f"layer {l + 1}: {name}", f, array, claimed, options))
    return rows


def _through_phi(layer: Dense, Z: Array, dA: Array) -> float:
    return float((dA * layer.phi.f(Z)).sum())


def _through_map(A_prev: Array, W: Array, b: Array, dZ: Array) -> float:
    return float((dZ * (A_prev @ W + b)).sum())


def _row(name: str, f: Callable[[], float], array: Array, analytic: Array, options: Options) -> Row:
    # The gradient that reaches each equation has size 1.
    return compare(name, f, array, analytic, options.beside([np.ones(1)]))


def _size(upstream: Array) -> float:
    """Return the size to divide by, so that an equation is checked at size 1 wherever it stands."""
    return float(np.abs(upstream).max(initial=0.0)) or 1.0


def _unit(upstream: Array) -> Array:
    return upstream / _size(upstream)


def _double(array: Array) -> Array:
    return np.array(array, dtype=np.float64)


def _numbers(target: Array) -> Array:
    """Return a copy, float64 unless they are class indices."""
    whole = np.issubdtype(np.asarray(target).dtype, np.integer)
    return np.array(target) if whole else _double(target)


WIDTH, LAYERS, SAMPLES = 6, 5, 8  # square maps, in which a transposed matrix raises no error


@dataclass(frozen=True)
class Caught:
    """What the check said of a mutated pass: where the error is, and where it was found."""

    mutation: Mutation
    expected: str
    enters: Sequence[str]
    wrong: Sequence[str]

    @property
    def found(self) -> bool:
        """Whether the place was named, and no other."""
        return list(self.enters) == [self.expected]


def try_mutation(mutation: Mutation, seed: int, options: Options) -> Caught:
    """Check a random network whose backward pass has the mistake in a random hidden layer."""
    rng = np.random.default_rng(seed)
    layers = random_network([WIDTH] * (LAYERS + 1), "tanh", rng)
    mutated = int(rng.integers(1, LAYERS - 1))
    X = rng.normal(size=(SAMPLES, WIDTH))
    Y = rng.integers(0, WIDTH, SAMPLES)

    def backward(layers: Sequence[Dense], X: Any, Y: Any, loss: Any) -> Any:
        return mutation.backward(layers, X, Y, loss, mutated)

    report = check_network(layers, X, Y, LOSSES[mutation.loss](), options, backward)
    place = "the loss" if mutation.slope else f"layer {mutated + 1}"
    return Caught(mutation, f"{place}: {mutation.enters}", report.enters, report.wrong)


def random_network(widths: Sequence[int], phi: str, rng: np.random.Generator) -> list[Dense]:
    """Return layers of these widths, Kaiming's variance, with small biases; the last one linear."""
    names = [phi] * (len(widths) - 2) + ["identity"]
    return [
        Dense(rng.normal(size=(n, m)) * np.sqrt(2 / n), 0.1 * rng.normal(size=m), ACTIVATIONS[name])
        for (n, m), name in zip(pairwise(widths), names, strict=True)
    ]


def mutation_table(seed: int = 0) -> tuple[list[str], bool]:
    """Return the lines of the mutation table, and whether all were caught in the right place."""
    found = [try_mutation(m, seed + i, Options()) for i, m in enumerate(MUTATIONS)]
    rows = [("mistake", "written", "wrong gradients", "the error enters at", "found at")]
    total = 2 * LAYERS + 1
    for each in found:
        said = ", ".join(each.enters) or "nowhere: MISSED"
        wrong = f"{len(each.wrong)} of {total}"
        rows.append((each.mutation.name, each.mutation.written, wrong, each.expected, said))
    lines = aligned_lines(rows)
    right = sum(each.found for each in found)
    return [*lines, "", f"{right} of {len(found)} mistakes found where they are"], right == len(
        found
    )
