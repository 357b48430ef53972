"""Var W and Var b of each linear map, by the initialisation's name: the variances of the table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gradlab.config import choices
from gradlab.errors import PredictionError, nearest
from gradlab.theory.moments import find_activation
from gradlab.theory.phase import at_criticality

FAN = {
    "in": lambda n_in, n_out: n_in,
    "average": lambda n_in, n_out: (n_in + n_out) / 2,
    "one": lambda n_in, n_out: 1,
}


@dataclass(frozen=True)
class Variance:
    """Of one map's weights and biases, entry by entry, and how much of its work is left to chance.

    Attributes:
        n_in: its inputs.
        n_out: its outputs.
        weight: Var W; 0 where the data decide.
        bias: Var b.
        orthogonal: the weights are a random rotation, or a part of one, times a number.
        fixed: the variance of z to which LSUV scales the weights on the batch; else None.
    """

    n_in: int
    n_out: int
    weight: float
    bias: float
    orthogonal: bool = False
    fixed: float | None = None

    def scale(self, square: float) -> float:
        """Return s = n_in Var W, where the inputs' mean square is `square`."""
        return self.n_in * self.weight if self.fixed is None else self.fixed / square

    def radius(self, share: float = 1.0) -> float:
        """Return the variance of ln ‖z‖², of which weights make the `share` and biases the rest.

        2 / n_out for independent weights. A rotation keeps the length; a projection from n_in to
        n_out dimensions keeps a part that is distributed as a beta variable.
        """
        length = 1 / self.n_out - self.orthogonal / self.n_in
        return 2 * (max(length, 0.0) * share**2 + (1 - share**2) / self.n_out)

    @property
    def back(self) -> float:
        """Return the variance of ln ‖W^T delta‖²."""
        return 2 * max(1 / self.n_in - self.orthogonal / self.n_out, 0.0)


def variances(
    widths: Sequence[int],
    init: str,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    gain: float | None = None,
    activation: str | None = None,
    input_rms: float = 1.0,
) -> list[Variance]:
    """Return the variances of the maps of a network of these widths; None for what ships.

    The activation and the inputs' root mean square are used only by `critical`.

    Raises:
        PredictionError: the initialisation is unknown, or has no prediction.
    """
    pairs = list(itertools.pairwise(widths))
    if sigma_w is not None:
        drawn = [Variance(n, m, sigma_w**2 / n, 0.0) for n, m in pairs]
    elif init not in choices.names("model/init"):
        names = choices.names("model/init")
        raise PredictionError(f"init={init} is not known; {nearest(str(init), names)}")
    elif init == "critical":
        drawn = _critical(pairs, activation, input_rms)
    else:
        drawn = [_of(init, n_in, n_out, gain) for n_in, n_out in pairs]
    if sigma_b is None:
        return drawn
    return [Variance(v.n_in, v.n_out, v.weight, sigma_b**2, v.orthogonal, v.fixed) for v in drawn]


def _of(init: str, n_in: int, n_out: int, gain: float | None) -> Variance:
    content = choices.load("model/init", init)
    square = (content.get("gain", 0.0) if gain is None else gain) ** 2
    if "fan" in content:
        return Variance(n_in, n_out, square / FAN[content["fan"]](n_in, n_out), 0.0)
    if init == "default":
        return Variance(n_in, n_out, square / (3 * n_in), square / (3 * n_in))
    if init == "orthogonal":
        return Variance(n_in, n_out, square / max(n_in, n_out), 0.0, orthogonal=True)
    if init == "lsuv":
        return Variance(n_in, n_out, 0.0, 0.0, orthogonal=True, fixed=square)
    if init == "zeros":
        raise PredictionError(
            "init=zeros has no decades to predict: below the last layer every error signal is 0, "
            "exactly; choose another"
        )
    raise PredictionError(f"init={init} has no prediction; name sigma_w instead")


def _critical(
    pairs: Sequence[tuple[int, int]], activation: str | None, input_rms: float
) -> list[Variance]:
    *hidden, (n_in, n_out) = pairs
    out = Variance(n_in, n_out, 1 / n_in, 0.0)
    if not hidden:
        return [out]
    sigma_b = choices.load("model/init", "critical")["sigma_b"]
    point = at_criticality(find_activation(str(activation)), sigma_b)
    squares = [point.first(input_rms**2), *[point.sigma_w**2] * (len(hidden) - 1)]
    drawn = [
        Variance(n, m, s / n, point.sigma_b**2) for (n, m), s in zip(hidden, squares, strict=True)
    ]
    return [*drawn, out]
