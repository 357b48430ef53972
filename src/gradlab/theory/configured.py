"""The prediction for a configured network: from settings, or from a run's flat configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from gradlab.config.settings import Settings
from gradlab.errors import PredictionError
from gradlab.theory.activation import find
from gradlab.theory.batch_norm import LEAST, Batch
from gradlab.theory.critical import at_criticality
from gradlab.theory.frame import too_narrow
from gradlab.theory.gauss import Moments
from gradlab.theory.in_range import in_range
from gradlab.theory.phase import Phase, phase
from gradlab.theory.predict import NORMS, predict
from gradlab.theory.variance import variances


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

    log10 of chi_1 at the fixed point, halved; with batch normalisation that of a large batch. None
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
    """Return what a flat configuration says of the network.

    Raises:
        PredictionError: it says nothing of a network of ours.
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
        raise PredictionError(f"the configuration is of no network of ours: {error}") from error


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
        point = at_criticality(find(network.activation))
        return Phase(point.q, 1.0, np.inf, np.inf, 1.0, "critical")
    (hidden,) = variances([n, n], network.init, gain=network.gain)
    sigma_w, sigma_b = np.sqrt(n * hidden.weight), np.sqrt(hidden.bias)
    return phase(network.activation, float(sigma_w), float(sigma_b))


def _held_growth(network: Network) -> float:
    """Return chi_1 where every layer has one variance: by LSUV, or by a normalisation."""
    n, phi = network.width, find(network.activation)
    hidden = variances([n, n, n, n], network.init, gain=network.gain, activation=network.activation)
    if network.norm == "batch":
        return Batch(phi, np.inf).growth
    m = Moments(phi, 1.0 if network.norm != "none" else hidden[1].held or 1.0)
    s = hidden[1].scale(m.square)
    return s * m.slope / ((s * m.square + hidden[1].bias) if network.norm != "none" else 1.0)
