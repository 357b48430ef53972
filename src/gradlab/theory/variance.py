"""Var W and Var b of each linear map, from the name of the initialisation."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gradlab.config import choices
from gradlab.errors import PredictionError, nearest
from gradlab.theory.moments import find_activation
from gradlab.theory.phase import find_critical_point

FAN = {
    "in": lambda n_in, n_out: n_in,
    "average": lambda n_in, n_out: (n_in + n_out) / 2,
    "one": lambda n_in, n_out: 1,
}


@dataclass(frozen=True)
class Variance:
    """The variances of a linear map's weights and biases.

    Attributes:
        n_in: number of inputs.
        n_out: number of outputs.
        weight: Var W, of one entry; 0 where the data decide.
        bias: Var b, of one entry.
        orthogonal: whether the weights are a multiple of a random rotation or of a part of one.
        fixed: the variance of z to which LSUV scales the weights on the batch; else None.
    """

    n_in: int
    n_out: int
    weight: float
    bias: float
    orthogonal: bool = False
    fixed: float | None = None

    def scale(self, square: float) -> float:
        """Return s = n_in Var W, for inputs with mean square `square`."""
        return self.n_in * self.weight if self.fixed is None else self.fixed / square

    def radius(self, share: float = 1.0) -> float:
        """Return the variance of ln ‖z‖², of which weights make the `share` and biases the rest.

        For independent weights it is 2 / n_out. A rotation keeps the length. A projection from n_in
        to n_out dimensions keeps a part that has a beta distribution.
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
    """Return the variances of the linear maps of a network.

    Args:
        widths: [n_0, n_1, ..., n_L].
        init: the name of the initialisation, as in `model.init`.
        sigma_w: Var W = sigma_w² / fan_in; None: as the initialisation.
        sigma_b: Var b = sigma_b²; None: as the initialisation.
        gain: the gain of the initialisation; None for its default.
        activation: the name of the activation, used only by `critical`.
        input_rms: the root mean square of a sample's features, used only by `critical`.

    Returns:
        The variances of W_1..W_L and of their biases.

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
        drawn = _critical_variances(pairs, activation, input_rms)
    else:
        drawn = [_variance_of_init(init, n_in, n_out, gain) for n_in, n_out in pairs]
    if sigma_b is None:
        return drawn
    return [Variance(v.n_in, v.n_out, v.weight, sigma_b**2, v.orthogonal, v.fixed) for v in drawn]


def _variance_of_init(init: str, n_in: int, n_out: int, gain: float | None) -> Variance:
    """Return the variances of one map.

    Args:
        init: the name of the initialisation.
        n_in: number of inputs.
        n_out: number of outputs.
        gain: the gain; None for the default of the initialisation.

    Returns:
        Var W and Var b.
    """
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


def _critical_variances(
    pairs: Sequence[tuple[int, int]], activation: str | None, input_rms: float
) -> list[Variance]:
    """Return the variances of `model.init=critical`.

    Args:
        pairs: (n_in, n_out) of each map.
        activation: the name of the activation.
        input_rms: the root mean square of a sample's features.

    Returns:
        The variances of the maps.
    """
    *hidden, (n_in, n_out) = pairs
    out = Variance(n_in, n_out, 1 / n_in, 0.0)
    if not hidden:
        return [out]
    sigma_b = choices.load("model/init", "critical")["sigma_b"]
    point = find_critical_point(find_activation(str(activation)), sigma_b)
    squares = [point.first_layer_scale(input_rms**2), *[point.sigma_w**2] * (len(hidden) - 1)]
    drawn = [
        Variance(n, m, s / n, point.sigma_b**2) for (n, m), s in zip(hidden, squares, strict=True)
    ]
    return [*drawn, out]
