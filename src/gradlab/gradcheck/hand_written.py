"""Checks a hand-written backward pass: the whole network, then each equation separately.

Each equation is checked with the gradient that it receives, right or wrong. For example, dZ_l must
be the derivative of Σ dA_l ⊙ phi(Z_l) with respect to Z_l, for the received dA_l. So the check
finds the equation where an error enters, although all gradients before it are wrong as well.
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


def correct_backward(
    layers: Sequence[Dense], X: Array, Y: Array, loss: Loss
) -> Sequence[Gradients]:
    """Return the gradients of all layers, computed by `gradlab.reference.dense`.

    Args:
        layers: the layers, first to last.
        X: the inputs, [N, features].
        Y: the targets, [N, outputs] or class indices [N].
        loss: the loss, a mean over samples.

    Returns:
        The gradients of each layer, first to last.
    """
    caches = forward(layers, X)
    return backward(layers, caches, loss.derivative(caches[-1].A, Y))


def check_network(
    layers: Sequence[Dense],
    x: Array,
    y: Array,
    loss: Loss,
    options: Options,
    backward: Backward = correct_backward,
) -> GradientReport:
    """Check the gradients of all weights, biases and the input, in float64.

    Args:
        layers: the layers, first to last.
        x: the inputs, [N, features].
        y: the targets, [N, outputs] or class indices [N].
        loss: the loss, a mean over samples.
        options: the options of the check.
        backward: the backward pass to check.

    Returns:
        The report. If a gradient is wrong or not decided, it contains a check of each equation.

    Raises:
        CheckError: inputs or targets do not fit the network, or the loss is not finite.
    """
    layers = [Dense(_to_float64(layer.W), _to_float64(layer.b), layer.phi) for layer in layers]
    X, Y, options = _to_float64(x), _copy_target(y), options.for_parameters()
    try:
        value = loss.value(forward(layers, X)[-1].A, Y)
        grads = backward(layers, X, Y, loss)
    except (IndexError, TypeError, ValueError) as error:
        shapes = f"inputs {list(X.shape)} and targets {list(np.shape(Y))}"
        message = f"{shapes} do not fit the network: {str(error).splitlines()[0]}"
        raise CheckError(message) from error
    if not np.isfinite(value):
        raise CheckError(f"the loss is {value}: there is no gradient to check")

    def f() -> float:
        return loss.value(forward(layers, X)[-1].A, Y)

    arrays = [("input", X, grads[0].dA_prev)]
    for l, (layer, g) in enumerate(zip(layers, grads, strict=True), start=1):
        arrays += [(f"layer {l}: W", layer.W, g.dW), (f"layer {l}: b", layer.b, g.db)]
    options = options.for_gradients(analytic for *_, analytic in arrays)
    rows = [compare(name, f, array, analytic, options) for name, array, analytic in arrays]
    if all(row.resolved and not row.wrong for row in rows):
        return GradientReport(rows, options)
    local = check_equations(layers, X, Y, loss, grads, options)
    decided = {row.name.replace(": d", ": ") for row in local if row.resolved}
    if all(row.resolved for row in local if row.name.endswith(("dZ", "dA_prev", "dA"))):
        decided.add("input")
    covered = [row.name for row in rows if not row.resolved and row.name in decided]
    enters = [row.name for row in local if row.wrong]
    return GradientReport(rows, options, local, enters, covered=covered)


def check_equations(
    layers: Sequence[Dense],
    X: Array,
    Y: Array,
    loss: Loss,
    grads: Sequence[Gradients],
    options: Options,
) -> list[Row]:
    """Check each equation of a backward pass separately, from the loss to the input.

    Args:
        layers: the layers, first to last.
        X: the inputs, [N, features], float64.
        Y: the targets, [N, outputs] or class indices [N].
        loss: the loss, a mean over samples.
        grads: the gradients of each layer from the backward pass to check.
        options: the options of the check.

    Returns:
        One row for each equation, such as `layer 2: dW`.
    """
    caches = forward(layers, X)
    output = caches[-1].A.copy()
    rows = [
        _check_equation(
            "the loss: dLoss/dA", lambda: loss.value(output, Y), output, grads[-1].dA, options
        )
    ]
    for l in reversed(range(len(layers))):
        layer, g = layers[l], grads[l]
        Z, A_prev, W, b = (v.copy() for v in (caches[l].Z, caches[l].A_prev, layer.W, layer.b))
        through_phi = partial(_through_phi, layer, Z, _normalise(g.dA))
        through_map = partial(_through_map, A_prev, W, b, _normalise(g.dZ))
        for name, f, array, analytic, upstream in (
            ("dZ", through_phi, Z, g.dZ, g.dA),
            ("dW", through_map, W, g.dW, g.dZ),
            ("db", through_map, b, g.db, g.dZ),
            ("dA_prev", through_map, A_prev, g.dA_prev, g.dZ),
        ):
            normalised = analytic / _largest_entry(upstream)
            rows.append(_check_equation(f"layer {l + 1}: {name}", f, array, normalised, options))
    return rows


def _through_phi(layer: Dense, Z: Array, dA: Array) -> float:
    """Return Σ dA ⊙ phi(Z), the function whose derivative by Z is dZ.

    Args:
        layer: the layer with the activation phi.
        Z: the pre-activations, [N, units].
        dA: the gradient of the outputs, [N, units].

    Returns:
        The sum over samples and units.
    """
    return float((dA * layer.phi.f(Z)).sum())


def _through_map(A_prev: Array, W: Array, b: Array, dZ: Array) -> float:
    """Return Σ dZ ⊙ (A_prev W + b), the function whose derivatives are dW, db and dA_prev.

    Args:
        A_prev: the inputs of the layer, [N, fan_in].
        W: the weights, [fan_in, units].
        b: the biases, [units].
        dZ: the gradient of the pre-activations, [N, units].

    Returns:
        The sum over samples and units.
    """
    return float((dZ * (A_prev @ W + b)).sum())


def _check_equation(
    name: str, f: Callable[[], float], array: Array, analytic: Array, options: Options
) -> Row:
    """Check one equation, whose received gradient is normalised to 1.

    Args:
        name: the name of the equation.
        f: returns the value of the function at the current values of `array`.
        array: the variable, float64.
        analytic: its gradient.
        options: the options of the check.

    Returns:
        The result for this equation.
    """
    return compare(name, f, array, analytic, options.for_gradients([np.ones(1)]))


def _largest_entry(upstream: Array) -> float:
    """Return the largest absolute value, 1 if all are 0."""
    return float(np.abs(upstream).max(initial=0.0)) or 1.0


def _normalise(upstream: Array) -> Array:
    return upstream / _largest_entry(upstream)


def _to_float64(array: Array) -> Array:
    return np.array(array, dtype=np.float64)


def _copy_target(target: Array) -> Array:
    """Return a copy of the targets, in float64 unless they are class indices."""
    is_class = np.issubdtype(np.asarray(target).dtype, np.integer)
    return np.array(target) if is_class else _to_float64(target)


# Square weight matrices: a transposed matrix raises no error.
WIDTH, LAYERS, SAMPLES = 6, 5, 8


@dataclass(frozen=True)
class MutationResult:
    """The result of the check for a backward pass with a mistake.

    Attributes:
        mutation: the mistake.
        expected: the equation that contains it.
        enters: the equations where the check locates an error.
        wrong: the names of the arrays with wrong gradients.
    """

    mutation: Mutation
    expected: str
    enters: Sequence[str]
    wrong: Sequence[str]

    @property
    def is_located(self) -> bool:
        """Whether the check locates the error in the expected equation and in no other."""
        return list(self.enters) == [self.expected]


def check_mutation(mutation: Mutation, seed: int, options: Options) -> MutationResult:
    """Check a random network whose backward pass has a mistake in a random hidden layer.

    Args:
        mutation: the mistake.
        seed: the seed of the network, the batch and the layer.
        options: the options of the check.

    Returns:
        The expected and the located place of the error.
    """
    rng = np.random.default_rng(seed)
    layers = random_network([WIDTH] * (LAYERS + 1), "tanh", rng)
    mutated = int(rng.integers(1, LAYERS - 1))
    X = rng.normal(size=(SAMPLES, WIDTH))
    Y = rng.integers(0, WIDTH, SAMPLES)

    def backward(layers: Sequence[Dense], X: Any, Y: Any, loss: Any) -> Any:
        return mutation.backward(layers, X, Y, loss, mutated)

    report = check_network(layers, X, Y, LOSSES[mutation.loss](), options, backward)
    place = "the loss" if mutation.slope else f"layer {mutated + 1}"
    return MutationResult(mutation, f"{place}: {mutation.enters}", report.enters, report.wrong)


def random_network(widths: Sequence[int], phi: str, rng: np.random.Generator) -> list[Dense]:
    """Return random layers with Kaiming's variance and small biases; the last layer is linear.

    Args:
        widths: the number of inputs, then the widths of all layers.
        phi: the activation of the hidden layers.
        rng: the generator.

    Returns:
        The layers, first to last.
    """
    names = [phi] * (len(widths) - 2) + ["identity"]
    return [
        Dense(rng.normal(size=(n, m)) * np.sqrt(2 / n), 0.1 * rng.normal(size=m), ACTIVATIONS[name])
        for (n, m), name in zip(pairwise(widths), names, strict=True)
    ]


def mutation_table(seed: int = 0) -> tuple[list[str], bool]:
    """Return the lines of the mutation table, and whether all mistakes were located."""
    results = [check_mutation(m, seed + i, Options()) for i, m in enumerate(MUTATIONS)]
    rows = [("mistake", "written", "wrong gradients", "the error enters at", "found at")]
    total = 2 * LAYERS + 1
    for each in results:
        place = ", ".join(each.enters) or "nowhere: MISSED"
        wrong = f"{len(each.wrong)} of {total}"
        rows.append((each.mutation.name, each.mutation.written, wrong, each.expected, place))
    located = sum(each.is_located for each in results)
    summary = f"{located} of {len(results)} mistakes found where they are"
    return [*aligned_lines(rows), "", summary], located == len(results)
