"""Does the check find bugs? Every mutation of a correct backward pass, caught or not, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gradlab.gradcheck.by_hand import check_network
from gradlab.gradcheck.row import Options
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import Dense
from gradlab.reference.loss_functions import LOSSES
from gradlab.reference.mutations import MUTATIONS, Mutation

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


def table(seed: int = 0) -> tuple[list[str], bool]:
    """Return the lines of the mutation table, and whether all were caught in the right place."""
    found = [try_mutation(m, seed + i, Options()) for i, m in enumerate(MUTATIONS)]
    rows = [("mistake", "written", "wrong gradients", "the error enters at", "found at")]
    total = 2 * LAYERS + 1
    for each in found:
        said = ", ".join(each.enters) or "nowhere: MISSED"
        wrong = f"{len(each.wrong)} of {total}"
        rows.append((each.mutation.name, each.mutation.written, wrong, each.expected, said))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    right = sum(each.found for each in found)
    return [*lines, "", f"{right} of {len(found)} mistakes found where they are"], right == len(
        found
    )
