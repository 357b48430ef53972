"""Print, for ten sigmoid layers, the decades that were lost, those of theory, and those of 0.25^10.

gradlab run -m +experiment=sigmoid_ten_layers hydra.sweep.dir=sigmoid_ten_layers
python experiments/sigmoid_ten_layers/analysis.py sigmoid_ten_layers
"""

import itertools
import sys

import numpy as np
import pandas as pd

import gradlab
from gradlab import choices

VARIANCE = {
    "default": lambda n_in, n_out: 1 / (3 * n_in),
    "xavier_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "kaiming_normal": lambda n_in, n_out: 2 / n_in,
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def average(f, variance):
    """E f(z) for z ~ N(0, variance), by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    return float(weights @ f(np.sqrt(variance) * nodes) / weights.sum())


def mean_field(widths, init):
    """Predict log10 of ‖delta_1‖/‖delta_L‖, from activations and from weights, in wide networks.

    The length map of Poole et al. 2016 (eq. 3) forward, and the gradient's of Schoenholz et al.
    2017 (eq. 16) backward: each activation multiplies ‖.‖² by E phi'(z)², each map by n_in Var W.
    Inputs have unit variance per feature.
    """
    maps = list(itertools.pairwise(widths))
    length, activations, weights = 1.0, 0.0, 0.0
    for index, (n_in, n_out) in enumerate(maps):
        variance = VARIANCE[init](n_in, n_out)
        bias = variance if init == "default" else 0.0
        q = n_in * variance * length + bias  # of z_l
        length = average(lambda z: sigmoid(z) ** 2, q)
        if index < len(maps) - 1:
            slope = average(lambda z: (sigmoid(z) * (1 - sigmoid(z))) ** 2, q)
            activations += np.log10(slope) / 2
        if index > 0:
            weights += np.log10(n_in * variance) / 2
    return activations, weights


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


def main(folder) -> None:
    print("log10 of ‖delta_1‖ / ‖delta_L‖ over ten sigmoid layers, at initialisation\n")
    print(table(folder).T.round(2).to_string())
    print(f"\n0.25^10, the bound of phi' alone: {10 * np.log10(0.25):.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
