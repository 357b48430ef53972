"""Compare theory with measurement at initialisation: join, residuals, and the figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradlab.pages.numbers import count, factor_text
from gradlab.pages.style import (
    COLOURS,
    LINES,
    MARKERS,
    add_legend,
    make_axes,
    set_layer_ticks,
    set_title,
)
from gradlab.report.reduce import Reduced
from gradlab.report.swept_keys import assign_roles, describe_left_out
from gradlab.results.load import Run
from gradlab.theory.mean_field import predict_run

SHARED = ("preact_std", "act_factor", "weight_factor", "norm_factor", "delta_norm")
"""The columns that are compared. The error signal is relative to the last layer.

The weight gradient is not compared: theory predicts it for one sample, runs record it for a batch.
"""


def join_theory(runs: Sequence[Run], reduced: Reduced) -> pd.DataFrame:
    """Join measurement and theory at step 0.

    Runs that the theory does not cover are left out, and runs with a single layer, because the
    error signal is compared relative to the last layer.

    Args:
        runs: the runs.
        reduced: the summaries of these runs.

    Returns:
        A row per run and layer. For each column in `SHARED`: log10 as measured, as predicted
        (`_theory`), and the difference (`_left`). `delta_sd`: the predicted standard deviation over
        networks for one sample, in decades.
    """
    expected = {
        run.name: frame
        for run in runs
        if (frame := predict_run(run.config, run.info.get("data") or {})) is not None
    }
    if not expected or reduced.start.empty:
        return _empty_join()
    theory = pd.concat(expected, names=["run", None]).reset_index("run")
    measured = reduced.start.reset_index(drop=True)
    by_run = measured.groupby("run")["position"]
    last = measured.loc[by_run.idxmax()].set_index("run")["delta_norm"]
    relative = measured.assign(delta_norm=measured["delta_norm"] / measured["run"].map(last))
    several = relative[by_run.transform("size") > 1]
    both = several.merge(theory[["run", "position", *SHARED, "delta_sd"]], on=["run", "position"])
    out = both[["run", "position", "delta_sd"]].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in SHARED:
            out[name] = np.log10(both[f"{name}_x"].astype(float))
            out[f"{name}_theory"] = np.log10(both[f"{name}_y"].astype(float))
            out[f"{name}_left"] = out[name] - out[f"{name}_theory"]
    return out


def _empty_join() -> pd.DataFrame:
    numbers = [f"{name}{part}" for name in SHARED for part in ("", "_theory", "_left")]
    empty = pd.DataFrame(columns=["position", "delta_sd", *numbers], dtype=float)
    return empty.assign(run=pd.Series(dtype=str))


def theory_residuals(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Compare measured and predicted decades of the first layer by setting.

    Args:
        table: rows of `join_theory`, with the columns of `keys`.
        keys: the swept keys.

    Returns:
        A row per setting: the keys; `runs`; means over runs of `measured`, `theory`, `theory_sd`
        and `left` (measured minus theory), in decades; `inside`, the share of runs within one
        predicted standard deviation.
    """
    first = table[table["position"] == 1]
    first = first[np.isfinite(first["delta_norm_left"])]
    inside = (first["delta_norm_left"].abs() <= first["delta_sd"]).astype(float)
    by: Any = first.assign(inside=inside).groupby(keys or (lambda _: 0), sort=False, dropna=False)
    out = by.agg(
        runs=("run", "size"),
        measured=("delta_norm", "mean"),
        theory=("delta_norm_theory", "mean"),
        theory_sd=("delta_sd", "mean"),
        left=("delta_norm_left", "mean"),
        inside=("inside", "mean"),
    )
    return out.reset_index(drop=not keys)


def theory_title(residuals: pd.DataFrame) -> str:
    """State how far theory is from the measured error signal, over all settings."""
    far = residuals["left"].abs()
    inside = np.average(residuals["inside"], weights=residuals["runs"])
    if len(residuals) == 1:
        error = f"the prediction is off by {_distance(far.iloc[0])}"
    else:
        error = (
            f"the prediction is off by at most {_distance(far.median())} in half of "
            f"{len(residuals)} settings, by at most {_distance(far.max())} in all"
        )
    networks = f"{inside:.0%} of {count(int(residuals['runs'].sum()), 'network')}"
    return f"At initialisation, {error}; {networks} within one predicted standard deviation"


def _distance(decades: float) -> str:
    return f"{decades:.2f} decades ({factor_text(decades)})"


def distinct_networks(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Keep one run of each network. Runs that differ only in training start as the same network."""
    networks = table.drop_duplicates([*model_keys(keys), "seed"])["run"]
    return table[table["run"].isin(networks)]


def model_keys(keys: list[str]) -> list[str]:
    """Return the keys that can change a network at initialisation."""
    groups = ("model", "data", "loss", "train.batch", "train.dtype")
    return [key for key in keys if key.startswith(groups)]


def draw_theory(table: pd.DataFrame, keys: list[str], seeds: str, title: str) -> Figure:
    """Draw the error signal over depth: theory as line and band, each network as marks.

    Args:
        table: rows of `join_theory`, with the columns of `keys`.
        keys: the swept keys.
        seeds: number of networks per setting as text, such as "5 seeds".
        title: the title of the figure.

    Returns:
        The figure.
    """
    frame, roles = assign_roles(table, model_keys(keys))
    rows, columns = roles["row"].values, roles["column"].values
    figure, axes = make_axes(
        len(rows), len(columns), 1.1 + 1.35 * max(len(rows), 1.5), sharey="row", sharex="col"
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            ax, here = axes[i, j], frame[(frame["row"] == row) & (frame["column"] == column)]
            for c, colour in enumerate(roles["colour"].values):
                for s, line in enumerate(roles["line"].values):
                    _draw_series(
                        ax, here[(here["colour"] == colour) & (here["line"] == line)], c, s
                    )
            names = (roles["row"].name(row), roles["column"].name(column))
            ax.set_title(", ".join(filter(None, names)))
            if here.empty:
                ax.text(0.5, 0.5, "no theory, or not run", transform=ax.transAxes, ha="center")
    for j, column in enumerate(columns):
        deepest = frame[frame["column"] == column]["position"].max()
        set_layer_ticks(axes[-1, j].xaxis, int(deepest) if len(frame) else 1)
        axes[-1, j].set_xlabel("layer (1 = input side)")
    figure.supylabel("log10 of ‖delta_l‖ / ‖delta_L‖ (decades)", fontsize=8)
    set_title(figure, title + describe_left_out(roles))
    add_legend(figure, _handles(roles), f"{seeds} per setting")
    return figure


def _draw_series(ax: Any, table: pd.DataFrame, colour: int, line: int) -> None:
    """Draw theory and networks of one setting.

    Args:
        ax: the panel.
        table: rows of `join_theory`.
        colour: index of the colour.
        line: index of the line style.
    """
    if table.empty:
        return
    mean = table.groupby("position")[["delta_norm_theory", "delta_sd"]].mean()
    x, y = mean.index, mean["delta_norm_theory"]
    ax.plot(x, y, color=COLOURS[colour], lw=0.9, linestyle=LINES[line])
    band = (y - mean["delta_sd"], y + mean["delta_sd"])
    ax.fill_between(x, *band, color=COLOURS[colour], alpha=0.25, lw=0)
    every = max(1, -(-len(mean) // 7))
    shown = table[table["position"].isin([p for p in x if (p - 1) % every == 0])]
    ax.plot(
        shown["position"],
        shown["delta_norm"].where(np.isfinite(shown["delta_norm"])),
        linestyle="none",
        marker=MARKERS[colour],
        ms=3,
        mew=0.7,
        color=COLOURS[colour],
        markerfacecolor="white",
    )


def _handles(roles: dict[str, Any]) -> list[Any]:
    colour, line = roles["colour"], roles["line"]
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], ms=3, mfc="white", label=colour.name(v))
        for i, v in enumerate(colour.values)
        if colour.key
    ]
    handles += [
        Line2D([], [], color="0.3", linestyle=LINES[i], label=line.name(v))
        for i, v in enumerate(line.values)
        if line.key
    ]
    mark: dict[str, Any] = {"color": "0.3", "marker": "o", "ms": 3, "mfc": "white", "lw": 0}
    handles.append(Line2D([], [], label="a network", **mark))
    return [*handles, Patch(color="0.75", lw=0, label="theory ± one standard deviation")]
