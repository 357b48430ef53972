"""`gradlab report`: everything under a folder to `report/index.html`, `figures/` and `tables/`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gradlab.errors import StoreError
from gradlab.report import factors, heatmap, losses, page, profile, sentences, timeline
from gradlab.report.reduce import Reduced, reduce
from gradlab.report.settings import label
from gradlab.report.style import printed, save
from gradlab.report.table import shown, table
from gradlab.store.load import Run, find


@dataclass(frozen=True)
class Report:
    """What was written: the page, how many runs it covers, and what was left out of it."""

    path: Path
    runs: int
    damaged: list[str]


def write(folder: str | Path) -> Report:
    """Read every run under `folder` and write `folder/report`.

    Raises:
        StoreError: no run can be read, or the report cannot be written.
    """
    found = find(folder)
    reduced = reduce(found.runs)
    damaged = [*found.damaged, *reduced.damaged]
    if reduced.runs.empty:
        raise StoreError(f"no run under {folder} can be read: {damaged[0]}")
    frame, keys = table(found.runs, reduced)
    root = Path(folder) / "report"
    try:
        for part in ("figures", "tables"):
            (root / part).mkdir(parents=True, exist_ok=True)
        tables = _tables(frame, keys, reduced)
        for name, content in tables.items():
            content.to_csv(root / "tables" / f"{name}.csv", index=False)
        drawn = _figures(found.runs, frame, keys, reduced, root / "figures")
        path = root / "index.html"
        path.write_text(page.render(frame, keys, drawn, damaged, root), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{root} cannot be written: {error.strerror or error}") from error
    return Report(path, len(frame), damaged)


def _tables(frame: pd.DataFrame, keys: list[str], reduced: Reduced) -> dict[str, pd.DataFrame]:
    named = reduced.layers.merge(frame[["run", *keys, "seed"]], on="run")
    return {
        "runs": shown(frame, keys),
        "profiles": named,
        "decades": heatmap.by_setting(frame, keys),
        "factors": factors.per_layer(named, keys),
    }


def _figures(
    runs: list[Run], frame: pd.DataFrame, keys: list[str], reduced: Reduced, folder: Path
) -> list[page.Drawn]:
    """Draw and save every figure for which there is something to draw; return them in order."""
    if reduced.layers.empty:
        return []
    layers = reduced.layers.merge(frame[["run", *keys]], on="run")
    by_setting = factors.per_layer(layers, keys)
    names = {row["run"]: _named(row, keys) for _, row in frame.iterrows()}
    by_name = {run.name: run for run in runs}
    recorded = frame[frame["run"].isin(layers["run"])]
    picked = timeline.pick(recorded)
    few = [(names[run], layers[layers["run"] == run]) for run in picked]
    record = ["step", "axis", "position", "delta_norm"]
    single = [(names[run], by_name[run].layers(record)) for run in picked]
    deep = bool(frame["decades"].notna().any())
    decades = heatmap.pivot(frame, keys)
    ruling = next((k for k in ("model.activation", *keys) if k in keys), None)
    taken = sentences.per_layer(by_setting, ruling)
    weights = "What is left for the weights: it can be flat where the error signal is not"
    drawings: list[tuple[str, bool, str, Callable[[str], Any]]] = [
        (
            "decades",
            deep and bool(keys),
            sentences.extremes(frame, keys),
            partial(heatmap.draw, decades),
        ),
        (
            "profile",
            True,
            sentences.reach(frame, keys),
            partial(profile.draw, layers, keys, "delta_norm"),
        ),
        ("factors", deep, taken, partial(factors.plane, by_setting, keys)),
        (
            "factors_by_layer",
            deep,
            "What each layer does to the error signal",
            partial(factors.by_layer, few),
        ),
        ("losses", True, sentences.learning(frame), partial(losses.draw, reduced.losses, frame)),
        ("timeline", True, sentences.onset(frame), partial(timeline.draw, single)),
        ("profile_weights", True, weights, partial(profile.draw, layers, keys, "weight_grad_norm")),
    ]
    drawn: list[page.Drawn] = []
    for name, possible, title, draw in drawings:
        if possible:
            with printed():
                save(draw(title), folder, name)
            drawn.append(page.Drawn(name, title))
    return drawn


def _named(row: pd.Series, keys: list[str]) -> str:
    return f"{row['verdict']}: {label(row, keys)}"
