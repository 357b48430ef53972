"""Print the decades lost over ten sigmoid layers: measured, predicted, and the bound 0.25^10.

gradlab run -m +experiment=sigmoid_ten_layers hydra.sweep.dir=sigmoid_ten_layers
python experiments/sigmoid_ten_layers/analysis.py sigmoid_ten_layers
"""

import sys

import numpy as np
import pandas as pd

import gradlab
from gradlab.config import choices
from gradlab.errors import GradlabError


def mean_field(widths, init):
    """Predict the parts of log10 ‖delta_1‖/‖delta_L‖ due to activations and to weights."""
    frame = gradlab.predict(widths, "sigmoid", init)
    activations, weights = np.log10(frame["act_factor"]), np.log10(frame["weight_factor"])
    return activations[:-1].sum(), weights[1:].sum()


def measured(folder) -> pd.DataFrame:
    """Return a row per run: its initialisation, and the decades of each factor at step 0."""
    frames = gradlab.load(folder)
    start = frames.layers.query("step == 0").sort_values(["run", "position"])
    rows = []
    for run, layers in start.groupby("run"):
        logs = np.log10(layers[["delta_norm", "act_factor", "weight_factor"]].to_numpy())
        rows.append(
            {
                "run": run,
                "activations": logs[:-1, 1].sum(),
                "weights": logs[1:, 2].sum(),
                "together": logs[0, 0] - logs[-1, 0],
            }
        )
    inits = frames.runs[["run", "model.init", "model.depth", "model.width"]]
    return inits.merge(pd.DataFrame(rows), on="run")


def table(folder) -> pd.DataFrame:
    """Return a row per initialisation: decades, predicted and measured (mean of log10)."""
    runs = measured(folder)
    rows = []
    for init in (name for name in choices.names("model/init") if name in set(runs["model.init"])):
        group = runs[runs["model.init"] == init]
        widths = [64, *[int(group["model.width"].iloc[0])] * int(group["model.depth"].iloc[0]), 10]
        activations, weights = mean_field(widths, init)
        rows.append(
            {
                "init": init,
                "seeds": len(group),
                "activations": group["activations"].mean(),
                "theory: activations": activations,
                "weights": group["weights"].mean(),
                "theory: weights": weights,
                "together": group["together"].mean(),
                "theory: together": activations + weights,
                "sd over seeds": group["together"].std(),
            }
        )
    return pd.DataFrame(rows).set_index("init")


def main(folder="sigmoid_ten_layers") -> None:
    print("log10 of ‖delta_1‖ / ‖delta_L‖ over ten sigmoid layers, at initialisation\n")
    print(table(folder).T.round(2).to_string())
    print(f"\n0.25^10, the bound of phi' alone: {10 * np.log10(0.25):.2f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except GradlabError as error:
        sys.exit(f"{error}")
