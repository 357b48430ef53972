"""Predict a network at initialisation, layer by layer, at finite depth and width.

`predict` takes numbers and names. `predict_settings` and `predict_config` take the configuration of
a run.
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
from gradlab.theory.frame import is_too_narrow, to_frame
from gradlab.theory.moments import Moments, find_activation, refuse_overflow
from gradlab.theory.normalised import (
    MIN_BATCH,
    BatchStatistics,
    batch_norm_network,
    normalised_network,
)
from gradlab.theory.phase import Phase, find_critical_point, phase
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

    Mean-field theory describes fully connected networks with wide layers and random weights.

    Args:
        widths: [n_0, n_1, ..., n_L]: features, units of each hidden layer, outputs.
        activation: the name of the hidden layers' activation, such as "relu".
        init: the name of the initialisation, as in `model.init`.
        sigma_w: Var W = sigma_w² / fan_in; None: as the initialisation.
        sigma_b: Var b = sigma_b²; None: as the initialisation.
        input_rms: the root mean square of a sample's features.
        gain: the gain of the initialisation; None for its default.
        norm: the normalisation before the activation: "none", "layer", "rms" or "batch".
        batch: the samples in a batch, only for norm="batch"; None for the limit of many.
        branch_scale: s of a residual network h + s phi(W h + b); None for a plain network.

    Returns:
        A frame with a row per linear map. `preact_std` is the root of E u², with u the input of the
        activation. `act_factor`, `weight_factor` and `norm_factor` are the gains of one layer.
        `delta_norm` and `weight_grad_norm` are geometric means over networks, divided by the value
        of the last layer. They are norms for one sample, or for a batch with norm="batch".
        `delta_sd` and `weight_grad_sd` are standard deviations over networks, in decades.

    Raises:
        PredictionError: an argument is unknown or out of range, or theory does not cover the
            network.

    Example:
        >>> import gradlab
        >>> frame = gradlab.predict([64, *[64] * 10, 10], "sigmoid")
        >>> f"{frame['delta_norm'][0]:.1e}"  # the error signal of layer 1, relative to layer 11
        '2.8e-09'
    """
    phi = find_activation(activation)
    _check_arguments(widths, input_rms, norm, branch_scale)
    with refuse_overflow():
        maps = variances(widths, init, sigma_w, sigma_b, gain, activation, input_rms)
        return _predict_maps(phi, maps, input_rms, norm, batch, branch_scale)


def _predict_maps(
    phi: Activation,
    maps: Sequence[Variance],
    input_rms: float,
    norm: str,
    batch: int | None,
    branch_scale: float | None,
) -> pd.DataFrame:
    """Return the prediction of the theory that covers the network.

    Args:
        phi: the activation.
        maps: the variances of W_1..W_L and their biases.
        input_rms: the root mean square of a sample's features.
        norm: the normalisation before the activation.
        batch: the samples in a batch; None for the limit of many.
        branch_scale: s of a residual network; None for a plain network.

    Returns:
        The frame of `predict`.
    """
    if branch_scale is not None:
        frame = to_frame(residual_network(phi, maps, input_rms, branch_scale))
        frame.attrs["residual"] = True  # the product of its factors has no meaning
        return frame
    if norm == "batch":
        return to_frame(batch_norm_network(phi, maps, input_rms, batch))
    if norm != "none" or maps[0].fixed is not None:
        return to_frame(normalised_network(phi, maps, input_rms, norm))
    return to_frame(plain_network(phi, maps, input_rms))


def _check_arguments(
    widths: Sequence[int], input_rms: float, norm: str, branch_scale: float | None
) -> None:
    """Raise PredictionError if an argument of `predict` is invalid.

    Args:
        widths: [n_0, n_1, ..., n_L].
        input_rms: above 0.
        norm: one of `NORMS`.
        branch_scale: only with norm="none" and hidden layers of one width.
    """
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
    """The part of a configuration that determines a prediction."""

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
        """Raise PredictionError if theory does not cover the network."""
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
        """Whether each layer's variance follows only from the variance of the layer before."""
        return self.kind == "mlp" and self.norm == "none" and self.init != "lsuv"


def predict_settings(
    settings: Settings, n_in: int, n_out: int, input_rms: float
) -> tuple[pd.DataFrame, Phase | None]:
    """Return the prediction for the network of a run, and its phase.

    Args:
        settings: the settings of the run.
        n_in: features of a sample.
        n_out: outputs of the network.
        input_rms: root mean square of the features.

    Returns:
        The frame of `predict`, and the phase if the network is plain and has two hidden layers or
        more.

    Raises:
        PredictionError: theory does not cover the network.
    """
    network = network_from_config(settings.flat)
    frame = _predict_network(network, n_in, n_out, input_rms, settings.train.batch_size).copy()
    return frame, _phase(network) if network.plain and network.depth > 1 else None


def predict_config(
    config: Mapping[str, Any], n_in: int, n_out: int, input_rms: float, batch: int
) -> pd.DataFrame | None:
    """Return the prediction for the flat configuration of a run.

    Args:
        config: the configuration with keys such as `model.depth`, as in `run.json`.
        n_in: features of a sample.
        n_out: outputs of the network.
        input_rms: root mean square of the features.
        batch: samples in a batch.

    Returns:
        The frame of `predict`; None if theory does not cover the network, or if it is too narrow.
    """
    try:
        frame = _predict_network(network_from_config(config), n_in, n_out, input_rms, batch)
    except PredictionError:
        return None
    return None if is_too_narrow(frame) else frame.copy()


def predict_run(config: Mapping[str, Any], data: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the prediction for a run from its flat configuration and `data` of its `run.json`."""
    batch = config.get("train.batch_size")
    inputs, outputs, rms = (data.get(name) for name in ("inputs", "outputs", "input_rms"))
    if batch is None or inputs is None or outputs is None or rms is None:  # rms: of data with NaN
        return None
    return predict_config(config, inputs, outputs, rms, batch)


def decades_per_layer(config: Mapping[str, Any]) -> float | None:
    """Return the decades by which a layer changes the error signal, far from both ends.

    It is half of log10 chi_1 at the fixed point; with batch normalisation, for a large batch. None
    where theory has no prediction, for small batches, and for residual networks, whose layers
    differ.
    """
    try:
        network = network_from_config(config)
        small = config.get("train.batch_size", MIN_BATCH) < MIN_BATCH
        return None if network.norm == "batch" and small else _network_decades(network)
    except PredictionError:
        return None


def network_from_config(config: Mapping[str, Any]) -> Network:
    """Return the network that a flat configuration describes.

    Raises:
        PredictionError: the configuration does not describe a network of gradlab.
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
def _predict_network(
    network: Network, n_in: int, n_out: int, input_rms: float, batch: int
) -> pd.DataFrame:
    """Return the prediction for a network; the result is cached.

    Args:
        network: the network.
        n_in: features of a sample.
        n_out: outputs of the network.
        input_rms: root mean square of the features.
        batch: samples in a batch.

    Returns:
        The frame of `predict`.
    """
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
def _network_decades(network: Network) -> float | None:
    network.check()
    if network.kind == "resmlp" or network.depth < 2:
        return None
    with refuse_overflow():
        chi = _phase(network).chi_1 if network.plain else _fixed_variance_growth(network)
        return float(np.log10(chi) / 2)


def _phase(network: Network) -> Phase:
    """Return the phase of a plain network."""
    n = network.width
    if network.init == "critical":  # by construction
        point = find_critical_point(find_activation(network.activation))
        return Phase(point.q, 1.0, np.inf, np.inf, 1.0, "critical")
    (hidden,) = variances([n, n], network.init, gain=network.gain)
    sigma_w, sigma_b = np.sqrt(n * hidden.weight), np.sqrt(hidden.bias)
    return phase(network.activation, float(sigma_w), float(sigma_b))


def _fixed_variance_growth(network: Network) -> float:
    """Return chi_1 of a network in which LSUV or a normalisation gives every layer one variance."""
    n, phi = network.width, find_activation(network.activation)
    hidden = variances([n, n, n, n], network.init, gain=network.gain, activation=network.activation)
    if network.norm == "batch":
        return BatchStatistics(phi, np.inf).growth
    m = Moments(phi, 1.0 if network.norm != "none" else hidden[1].fixed or 1.0)
    s = hidden[1].scale(m.square)
    return s * m.slope / ((s * m.square + hidden[1].bias) if network.norm != "none" else 1.0)
