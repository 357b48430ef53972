"""Layer against step: how the error signal of single runs changes while they train."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gradlab.diagnosis.profile import over_depth
from gradlab.pages.style import grid, head, layer_ticks, panel_head, panels, step_ticks


def pick(runs: pd.DataFrame, most: int = 6) -> list[str]:
    """Return the runs worth a picture: the worst of each verdict, then a healthy one.

    Worst is furthest from 0 decades; a run of exact zeros is the worst of all.
    """
    worst = runs.assign(size=runs["decades"].abs().fillna(-1.0)).sort_values(
        "size", ascending=False, kind="stable"
    )
    sick = worst[worst["verdict"] != "healthy"].drop_duplicates("verdict")["run"].tolist()
    healthy = worst[worst["verdict"] == "healthy"]["run"].tolist()[-1:]
    return [*sick[: most - 1], *healthy] or runs["run"].tolist()[:1]


def draw(records: Sequence[tuple[str, pd.DataFrame, int]], title: str) -> Figure:
    """Draw log10 ‖delta_l‖ of each record, layer down, step across.

    Exact zeros are hatched, what is not finite is crossed.

    Args:
        records: of each run its name, its layers, and how many steps it took.
        title: of the figure.
    """
    rows, columns = panels(len(records))
    figure, axes = grid(rows, columns, 1.1 + 1.9 * rows)
    kinds: set[str] = set()
    for ax, (name, record, steps) in zip(axes.flat, records, strict=False):
        mesh = _panel(ax, over_depth(record, "delta_norm"), steps, kinds)
        panel_head(ax, name, columns)
        if mesh.get_array().count():  # else there is nothing that has a colour
            bar = figure.colorbar(mesh, ax=ax, pad=0.02)
            bar.set_label("log10 ‖delta‖", fontsize=7)
            bar.locator = MaxNLocator(5)
            bar.update_ticks()
            bar.ax.tick_params(labelsize=6)
    for ax in axes.flat[len(records) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("layer (1 = nearest the input)")
    for ax in axes.flat[max(0, len(records) - columns) : len(records)]:
        ax.set_xlabel("step (updates)")
    head(figure, title)
    handles = [
        Patch(facecolor="white", edgecolor="0.4", hatch=hatch, label=label)
        for label, hatch in (("exactly 0", "////"), ("not finite", "xxxx"))
        if label in kinds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panel(ax: Any, delta: pd.DataFrame, steps: int, kinds: set[str]) -> Any:
    values = delta.to_numpy(dtype=float).T
    positions = delta.columns.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(values)
    x = edges(delta.index.to_numpy(), steps)
    y = np.append(positions - 0.5, positions[-1] + 0.5)
    mesh = ax.pcolormesh(x, y, np.ma.masked_invalid(logs), cmap="cividis", rasterized=True)
    for label, where, hatch in (
        ("exactly 0", values == 0, "////"),
        ("not finite", ~np.isfinite(values), "xxxx"),
    ):
        if where.any():
            kinds.add(label)
            masked = np.ma.masked_where(~where, np.ones_like(values))
            grey = ListedColormap(["0.92"])
            ax.pcolor(x, y, masked, cmap=grey, hatch=hatch, edgecolor="0.5", lw=0, gid=label)
    ax.invert_yaxis()
    step_ticks(ax.xaxis, 5)
    layer_ticks(ax.yaxis, int(positions[-1]))
    return mesh


def edges(recorded: np.ndarray, steps: int) -> np.ndarray:
    """Return the borders between recorded steps: each record holds until the next.

    The last one holds until the end of training.
    """
    return np.append(recorded, max(steps, recorded[-1] + 1))
