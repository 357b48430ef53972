"""Print the decades per step through time, measured and predicted, and the effect of clipping.

gradlab run -m +experiment=recurrent_time hydra.sweep.dir=recurrent_time
python experiments/recurrent_time/analysis.py recurrent_time
"""

import sys

import numpy as np
import pandas as pd

import gradlab
from gradlab.data.sequences import adding
from gradlab.errors import GradlabError
from gradlab.theory.recurrent import decades_per_step
from gradlab.theory.variance import variances

SETTING = ["model.activation", "model.init", "model.spectral_radius"]


def drive(length, samples, test_fraction, init, width) -> np.ndarray:
    """Return the variance over units of W x_t for each step of each sample: Var W |x_t|²."""
    data = adding(length, samples, test_fraction)
    squares = data.x_train.unflatten(-1, data.shape).square().sum(-1)
    (first,) = variances([data.shape[1], width], init)
    return first.weight * squares.flatten().numpy()


def theory(run, radius) -> float:
    """Predict the decades per step of a run, from its configuration and the data's inputs."""
    inputs = drive(
        *(run[f"data.{name}"] for name in ("length", "samples", "test_fraction")),
        run["model.init"],
        run["model.width"],
    )
    return decades_per_step(run["model.activation"], radius, inputs)


def measured(steps: pd.DataFrame) -> float:
    """Return the gain of log10 ‖dLoss/dh_t‖ per step back, without the first quarter of the steps.

    In the first quarter the state still depends on its start at 0.
    """
    first = len(steps) // 4
    logs = np.log10(steps.sort_values("position")["act_grad_norm"].to_numpy())
    return (logs[first] - logs[-1]) / (len(logs) - 1 - first)


def per_step(frames) -> pd.DataFrame:
    """Return a row per setting: decades per step of each length (mean over seeds), and theory.

    Theory gets the spectral radius of V, or sqrt(n Var V) as drawn. For a rotation both are equal.
    """
    start = frames.layers.query("step == 0 and axis == 'time'")
    by_run = start.groupby("run")
    decades = by_run.apply(measured, include_groups=False).rename("decades")
    norm = by_run["weight_norm"].first()
    runs = frames.runs.merge(decades, left_on="run", right_index=True).merge(norm, on="run")
    runs = runs[runs["clip"] == "none"]
    runs["sigma"] = runs["weight_norm"] / np.sqrt(runs["model.width"])
    table = runs.pivot_table("decades", SETTING, "data.length")
    longest = runs[runs["data.length"] == runs["data.length"].max()]
    table["theory: radius"] = mean_prediction(longest, "model.spectral_radius")
    table["theory: sigma"] = mean_prediction(longest, "sigma")
    return table


def mean_prediction(runs, radius) -> pd.Series:
    """Return the mean prediction of the runs of each setting."""
    predicted = runs.apply(lambda run: theory(run, run[radius]), axis=1)
    return predicted.groupby([runs[key] for key in SETTING]).mean()


def rescue(frames) -> pd.DataFrame:
    """Return a row per setting: diverged runs and median loss, with and without clipping."""
    held_out = frames.runs.assign(loss=final_loss(frames))
    keys = ["model.activation", "model.spectral_radius"]
    rows = {}
    for setting, group in held_out.groupby(keys):
        row = {}
        for clip, runs in group.groupby("clip"):
            row[f"{clip}: diverged"] = f"{(runs['status'] == 'diverged').sum()} of {len(runs)}"
            row[f"{clip}: median loss"] = runs["loss"].fillna(np.inf).median()
        rows[setting] = row
    return pd.DataFrame(rows).T.rename_axis(keys)


def final_loss(frames) -> pd.Series:
    """Return the median loss of each run's last 20 steps; inf where it diverged."""
    last = frames.steps.groupby("run")["loss"].apply(lambda loss: loss.tail(20).median())
    ended = frames.runs.set_index("run")["status"] == "diverged"
    return last.where(~ended.reindex(last.index), np.inf).reindex(frames.runs["run"]).to_numpy()


def main(folder="recurrent_time") -> None:
    frames = gradlab.load(folder)
    print("log10 of ‖dLoss/dh_{t-1}‖ / ‖dLoss/dh_t‖ at initialisation, by length of the sequence\n")
    print(per_step(frames).round(3).to_string())
    print("\nafter training (always predicting the mean gives a loss of 1)\n")
    print(rescue(frames).to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except GradlabError as error:
        sys.exit(f"{error}")
