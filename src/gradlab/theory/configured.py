"""The prediction for a configured network."""

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
