"""Predict a network at initialisation, layer by layer, at finite depth and width.

`predict` takes numbers and names. `prediction` and `expected` take the configuration of a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from gradlab.config.settings import Settings
from gradlab.errors import PredictionError, nearest
from gradlab.reference.activation_functions import Activation
from gradlab.theory.frame import frame, too_narrow
from gradlab.theory.moments import Moments, find_activation, in_range
from gradlab.theory.normalised import LEAST, Batch, batch_norm_network, normalised_network
from gradlab.theory.phase import Phase, at_criticality, phase
from gradlab.theory.plain import plain_network
from gradlab.theory.residual import residual_network
from gradlab.theory.variance import Variance, variances

NORMS = ("none", "layer", "rms", "batch")


def predict(
    widths: Sequence[int],
    activation: str,
    init: str = "default",
    *,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    input_rms: float = 1.0,
    gain: float | None = None,
    norm: str = "none",
    batch: int | None = None,
    branch_scale: float | None = None,
) -> pd.DataFrame:
    """Predict the signal and the gradient of each layer at initialisation, from mean-field theory.

    Args:
        widths: [n_0, n_1, ..., n_L], with the input's and the output's.
        activation: the name of the hidden layers' activation, such as "relu".
        init: the name of the initialisation, as in `model.init`.
        sigma_w: Var W = sigma_w² / fan_in, instead of the initialisation's.
        sigma_b: Var b = sigma_b², instead of the initialisation's.
        input_rms: the root mean square of a sample's features.
        gain: the gain of the initialisation; None for its default.
        norm: the normalisation before the activation: "none", "layer", "rms" or "batch".
        batch: the samples in a batch, only for norm="batch"; None for the limit of many.
        branch_scale: s of a residual network h + s phi(W h + b); None for a plain network.

    Returns:
        A frame with a row per linear map. `preact_std` is the root of E u², with u the input of the
        activation. `act_factor`, `weight_factor` and `norm_factor` are the gains of one layer.
        `delta_norm` and `weight_grad_norm` are geometric means over networks, divided by the last
        layer's: for one sample, or for a batch with norm="batch". `delta_sd` and `weight_grad_sd`
        are their standard deviations over networks, in decades.

    Raises:
        PredictionError: an argument is unknown or out of range, or there is no theory for it.

    Example:
        >>> import gradlab
        >>> frame = gradlab.predict([64, *[64] * 10, 10], "sigmoid")
        >>> f"{frame['delta_norm'][0]:.1e}"  # the error signal of layer 1, relative to layer 11
        '2.8e-09'
    """
    phi = find_activation(activation)
    _check(widths, input_rms, norm, branch_scale)
    with in_range():
        maps = variances(widths, init, sigma_w, sigma_b, gain, activation, input_rms)
        return _predict(phi, maps, input_rms, norm, batch, branch_scale)


def _predict(
    phi: Activation,
    maps: Sequence[Variance],
    input_rms: float,
    norm: str,
    batch: int | None,
    branch_scale: float | None,
) -> pd.DataFrame:
    if branch_scale is not None:
        found = frame(residual_network(phi, maps, input_rms, branch_scale))
        found.attrs["residual"] = True  # its factors multiply to nothing: `table` must know
        return found
    if norm == "batch":
        return frame(batch_norm_network(phi, maps, input_rms, batch))
    if norm != "none" or maps[0].fixed is not None:
        return frame(normalised_network(phi, maps, input_rms, norm))
    return frame(plain_network(phi, maps, input_rms))


def _check(widths: Sequence[int], input_rms: float, norm: str, branch_scale: float | None) -> None:
    try:
        valid = len(widths) >= 2 and all(n == int(n) > 0 for n in widths)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise PredictionError(
            f"widths={widths!r}: expected a sequence of at least two whole numbers above 0, "
            "such as [64, 64, 10]"
        )
    if not input_rms > 0:
        raise PredictionError(f"input_rms={input_rms}: expected a number above 0")
    if norm not in NORMS:
        raise PredictionError(f"norm={norm} has no prediction; {nearest(str(norm), NORMS)}")
    if branch_scale is not None and norm != "none":
        raise PredictionError(
            f"norm={norm} has no prediction in a residual network: expected norm=none"
        )
    if branch_scale is not None and len(set(widths[1:-1])) > 1:
        raise PredictionError(f"expected hidden layers of one width, given {list(widths[1:-1])}")


@dataclass(frozen=True)
class Network:
    """What a prediction depends on, of a configuration."""

    kind: str
    depth: int
    width: int
    activation: str
    init: str
    gain: float | None
    norm: str
    norm_position: str
    branch_scale: float

    def check(self) -> None:
        """Raise PredictionError if there is no theory for the network."""
        if self.kind not in ("mlp", "resmlp"):
            raise PredictionError(f"model={self.kind} has no prediction: expected mlp or resmlp")
        known = NORMS if self.kind == "mlp" else ("none",)
        if self.norm not in known:
            raise PredictionError(
                f"model.norm={self.norm} has no prediction with model={self.kind}: "
                f"expected model.norm={' or '.join(known)}"
            )
        if self.norm != "none" and self.norm_position != "before":
            raise PredictionError(
                f"model.norm_position={self.norm_position} has no prediction: "
                "expected model.norm_position=before"
            )

    @property
    def plain(self) -> bool:
        """Return whether each layer's variance follows from the one before it alone."""
        return self.kind == "mlp" and self.norm == "none" and self.init != "lsuv"


def prediction(
    settings: Settings, n_in: int, n_out: int, input_rms: float
) -> tuple[pd.DataFrame, Phase | None]:
    """Return the prediction for a network, and its phase if it is plain and has hidden maps.

    Raises:
        PredictionError: there is no theory for the network.
    """
    network = of_flat(settings.flat)
    frame = _frame(network, n_in, n_out, input_rms, settings.train.batch_size).copy()
    return frame, _phase(network) if network.plain and network.depth > 1 else None


def expected(
    config: Mapping[str, Any], n_in: int, n_out: int, input_rms: float, batch: int
) -> pd.DataFrame | None:
    """Return the prediction for the flat configuration of a run; None if theory has none.

    Or if the network is too narrow for it.

    Args:
        config: with keys such as `model.depth`, as in `run.json`.
        n_in: features of a sample.
        n_out: outputs of the network.
        input_rms: root mean square of the features.
        batch: samples in a batch.
    """
    try:
        frame = _frame(of_flat(config), n_in, n_out, input_rms, batch)
    except PredictionError:
        return None
    return None if too_narrow(frame) else frame.copy()


def expected_of_run(config: Mapping[str, Any], data: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the prediction for a run: its flat configuration, and `data` of its `run.json`."""
    batch = config.get("train.batch_size")
    if not {"inputs", "outputs", "input_rms"} <= set(data) or batch is None:
        return None
    return expected(config, data["inputs"], data["outputs"], data["input_rms"], batch)


def decades_per_layer(config: Mapping[str, Any]) -> float | None:
    """Return by how many decades a layer changes the error signal, far from both ends.

    log10 of chi_1 at the fixed point, halved; with batch normalisation, of a large batch. None
    for residual networks, of which no layer is like another, and where theory has no prediction,
    of small batches too.
    """
    try:
        network = of_flat(config)
        small = config.get("train.batch_size", LEAST) < LEAST
        return None if network.norm == "batch" and small else _decades(network)
    except PredictionError:
        return None


def of_flat(config: Mapping[str, Any]) -> Network:
    """Return the network that a flat configuration describes.

    Raises:
        PredictionError: it does not describe a network of gradlab.
    """
    try:
        return Network(
            kind=str(config["model"]),
            depth=int(config["model.depth"]),
            width=int(config["model.width"]),
            activation=str(config["model.activation"]),
            init=str(config["model.init"]),
            gain=config.get("model.init_gain"),
            norm=str(config.get("model.norm", "none")),
            norm_position=str(config.get("model.norm_position", "before")),
            branch_scale=float(config.get("model.branch_scale", 1.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionError(
            f"the configuration does not describe a network of gradlab: {error}"
        ) from error


@lru_cache(maxsize=512)
def _frame(network: Network, n_in: int, n_out: int, input_rms: float, batch: int) -> pd.DataFrame:
    network.check()
    return predict(
        [n_in, *[network.width] * network.depth, n_out],
        network.activation,
        network.init,
        input_rms=input_rms,
        gain=network.gain,
        norm=network.norm,
        batch=batch,
        branch_scale=network.branch_scale if network.kind == "resmlp" else None,
    )


@lru_cache(maxsize=512)
def _decades(network: Network) -> float | None:
    network.check()
    if network.kind == "resmlp" or network.depth < 2:
        return None
    with in_range():
        chi = _phase(network).chi_1 if network.plain else _held_growth(network)
        return float(np.log10(chi) / 2)


def _phase(network: Network) -> Phase:
    """Return the phase of a plain network."""
    n = network.width
    if network.init == "critical":  # by construction; reached from elsewhere only slowly
        point = at_criticality(find_activation(network.activation))
        return Phase(point.q, 1.0, np.inf, np.inf, 1.0, "critical")
    (hidden,) = variances([n, n], network.init, gain=network.gain)
    sigma_w, sigma_b = np.sqrt(n * hidden.weight), np.sqrt(hidden.bias)
    return phase(network.activation, float(sigma_w), float(sigma_b))


def _held_growth(network: Network) -> float:
    """Return chi_1 where every layer has one variance: by LSUV, or by a normalisation."""
    n, phi = network.width, find_activation(network.activation)
    hidden = variances([n, n, n, n], network.init, gain=network.gain, activation=network.activation)
    if network.norm == "batch":
        return Batch(phi, np.inf).growth
    m = Moments(phi, 1.0 if network.norm != "none" else hidden[1].fixed or 1.0)
    s = hidden[1].scale(m.square)
    return s * m.slope / ((s * m.square + hidden[1].bias) if network.norm != "none" else 1.0)
