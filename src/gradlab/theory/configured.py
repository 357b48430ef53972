"""The prediction for a configured network."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from gradlab.errors import PredictionError
from gradlab.settings import Settings
from gradlab.theory.phase import Phase, phase
from gradlab.theory.predict import predict
from gradlab.theory.variance import variances


def prediction(
    settings: Settings, n_in: int, n_out: int, input_rms: float
) -> tuple[pd.DataFrame, Phase | None]:
    """Return the prediction for a plain MLP, and its phase if it has a map between hidden layers.

    Raises:
        PredictionError: there is no theory for the network.
    """
    model = settings.model
    for key, given, known in (
        ("model", model.component.name, "mlp"),
        ("model.norm", model.norm.name, "none"),
    ):
        if given != known:
            raise PredictionError(f"{key}={given} has no prediction yet: expected {key}={known}")
    widths = [n_in, *[model.width] * model.depth, n_out]
    init, gain = model.init.name, model.init_gain
    frame = predict(widths, model.activation.name, init, input_rms=input_rms, gain=gain)
    if model.depth < 2:
        return frame, None
    (hidden,) = variances([model.width, model.width], init, gain=gain)
    sigma_w, sigma_b = np.sqrt(model.width * hidden.weight), np.sqrt(hidden.bias)
    return frame, phase(model.activation.name, float(sigma_w), float(sigma_b))


def expected(
    config: Mapping[str, Any], n_in: int, n_out: int, input_rms: float, batch: int
) -> pd.DataFrame | None:
    """Return the prediction for a flat configuration; None if there is no theory for it."""
    if config.get("model") != "mlp" or config.get("model.norm") != "none":
        return None
    widths = (n_in, *[config["model.width"]] * config["model.depth"], n_out)
    key = (config["model.activation"], config["model.init"], config.get("model.init_gain"))
    return _expected(widths, *key, input_rms)


@cache
def _expected(
    widths: tuple[int, ...], activation: str, init: str, gain: float | None, input_rms: float
) -> pd.DataFrame | None:
    try:
        frame = predict(widths, activation, init, input_rms=input_rms, gain=gain)
    except PredictionError:
        return None
    return frame.assign(norm_factor=1.0)


def decades_per_layer(config: Mapping[str, Any]) -> float | None:
    """Return log10(chi_1) / 2 of a plain network; None if there is no theory for it."""
    if config.get("model") != "mlp" or config.get("model.norm") != "none":
        return None
    try:
        width = config["model.width"]
        (hidden,) = variances(
            [width, width], config["model.init"], gain=config.get("model.init_gain")
        )
        sigma_w, sigma_b = np.sqrt(width * hidden.weight), np.sqrt(hidden.bias)
        found = phase(config["model.activation"], float(sigma_w), float(sigma_b))
    except PredictionError:
        return None
    return float(np.log10(found.chi_1) / 2)
