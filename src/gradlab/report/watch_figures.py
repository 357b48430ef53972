"""Draw the figures of one watched network for `monitor.figure(name)`."""

import pandas as pd
from matplotlib.figure import Figure

from gradlab.errors import WatchError, nearest
from gradlab.pages.style import print_style
from gradlab.report.layer_profile import draw_profile
from gradlab.report.reduce import layer_means, thin_losses
from gradlab.report.training_curves import draw_losses, draw_timeline

PROFILES = {"signal": "delta_norm", "gradients": "weight_grad_norm"}
NAMES = (*PROFILES, "timeline", "loss")


def draw_watched(name: str, layers: pd.DataFrame, steps: pd.DataFrame, title: str) -> Figure:
    """Draw one figure of a watched network.

    Args:
        name: One of `NAMES`.
        layers: Rows as in `layers.parquet`.
        steps: Rows as in `steps.parquet`.
        title: The network and its verdict, such as "MLP: vanishing".

    Returns:
        The figure.

    Raises:
        WatchError: The name is unknown, or no module has the column that the figure shows.

    Example:
        >>> steps = pd.DataFrame({"step": [0, 1, 2], "loss": [3.0, 2.0, 1.5]})
        >>> draw_watched("loss", pd.DataFrame(), steps, "MLP: healthy").axes[0].get_xlabel()
        'step (updates)'
    """
    if name not in NAMES:
        hint = nearest(name, NAMES)
        raise WatchError(f"expected the name of a figure, not {name!r}; {hint}")
    with print_style():
        if name == "loss":
            runs = pd.DataFrame({"run": [""], "verdict": [title.split(": ")[-1]]})
            return draw_losses(thin_losses(steps).assign(run=""), runs, [], title)
        column = PROFILES.get(name, "delta_norm")
        rows = layers[layers[column].notna()]
        if rows.empty:
            raise WatchError(f"figure {name!r} cannot be drawn: no module has a {column}")
        if name == "timeline":
            return draw_timeline([("", rows, int(rows["step"].iloc[-1]) + 1)], title)
        return draw_profile(layer_means(rows), [], column, "the network", title)
