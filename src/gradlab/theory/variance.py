"""Var W and Var b of each linear map, by the initialisation's name: the variances of the table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gradlab import choices
from gradlab.errors import PredictionError, nearest

FAN = {
    "in": lambda n_in, n_out: n_in,
    "average": lambda n_in, n_out: (n_in + n_out) / 2,
    "one": lambda n_in, n_out: 1,
}


@dataclass(frozen=True)
class Variance:
    """Of one map's weights and biases, entry by entry."""

    weight: float
    bias: float


def variances(
    widths: Sequence[int],
    init: str,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    gain: float | None = None,
) -> list[Variance]:
    """Return the variances of the maps of a network of these widths; None for what ships.

    Raises:
        PredictionError: the initialisation is unknown, or its weights are not independent numbers.
    """
    pairs = list(itertools.pairwise(widths))
    if sigma_w is None and init not in choices.names("model/init"):
        names = choices.names("model/init")
        raise PredictionError(f"init={init} is not known; {nearest(str(init), names)}")
    out: list[Variance] = []
    for n_in, n_out in pairs:
        weight, bias = (0.0, 0.0) if sigma_w is not None else _of(init, n_in, n_out, gain)
        if sigma_w is not None:
            weight = sigma_w**2 / n_in
        if sigma_b is not None:
            bias = sigma_b**2
        out.append(Variance(weight, bias))
    return out


def _of(init: str, n_in: int, n_out: int, gain: float | None) -> tuple[float, float]:
    content = choices.load("model/init", init)
    square = (content.get("gain", 0.0) if gain is None else gain) ** 2
    if "fan" in content:
        return square / FAN[content["fan"]](n_in, n_out), 0.0
    if init == "default":
        return square / (3 * n_in), square / (3 * n_in)
    raise PredictionError(
        f"init={init} has no prediction: its weights are not independent; name sigma_w instead"
    )
