"""Build the table of a watched network's modules by depth, averaged over blocks if it is large."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from gradlab.results.load import Run

MOST_MODULES = 40  # a network with more modules is averaged over blocks
WITH_SKIPS = ("resmlp", "transformer")  # gradlab's networks with skip connections
NUMBERS = ("delta", "weakest", "weight_grad", "act_factor", "weight_factor")
COLUMNS = ("run", "layers", "modules", *NUMBERS)


def module_table(runs: Iterable[Run], layers: pd.DataFrame) -> pd.DataFrame:
    """Build a table of modules by depth, for watched networks only.

    Args:
        runs: all runs of the report.
        layers: `reduce.Reduced.layers`, means of log10 over the recorded steps.

    Returns:
        A row per module, or per block of consecutive modules in a network with more than 40.
        Columns: run; layers, positions; modules, names; delta, decades of the error signal relative
        to the last module, mean over the block; weakest, its minimum over the block; weight_grad,
        log10 ‖dLoss/dW‖; act_factor and weight_factor, log10.
    """
    watched = [run for run in runs if run.info.get("watched") and "run" in layers]
    rows = [row for run in watched for row in _module_rows(run, layers[layers["run"] == run.name])]
    return pd.DataFrame(rows, columns=COLUMNS)


def broken_chains(runs: Sequence[Run], layers: pd.DataFrame) -> set[str]:
    """Find the runs in which the product of the factors is not the gain of the error signal.

    That is so if a module lacks a factor, or if the network has skip connections.

    Args:
        runs: all runs of the report.
        layers: `reduce.Reduced.layers`.

    Returns:
        The names of these runs.
    """
    broken = {run.name for run in runs if run.config.get("model") in WITH_SKIPS}
    for run in runs:
        if run.info.get("watched") and "run" in layers:
            rows = layers[layers["run"] == run.name].sort_values("position")
            inner, outer = rows["act_factor"].iloc[:-1], rows["weight_factor"].iloc[1:]
            if inner.isna().any() or outer.isna().any():
                broken.add(run.name)
    return broken


def average_blocks(runs: Iterable[Run], layers: pd.DataFrame) -> pd.DataFrame:
    """Give all modules of a block the same position, in watched networks with many modules.

    A line through hundreds of modules goes up and down within each block and fills the figure. A
    line through the means of blocks, with a band for their range, shows the effect of depth.

    Args:
        runs: all runs of the report.
        layers: `reduce.Reduced.layers`.

    Returns:
        The rows with new positions: the mean position of each block.
    """
    positions = layers["position"].astype(float)
    for run in runs:
        if run.info.get("watched") and "run" in layers:
            rows = layers[layers["run"] == run.name].sort_values("position")
            for _, at in _group_blocks(_module_names(run, rows)):
                block = rows.index[at]
                positions[block] = rows.loc[block, "position"].mean()
    return layers.assign(position=positions)


def block_name(module: str) -> str:
    """Return a module's name up to its first number, or the whole name if it has no number.

    >>> block_name("transformer.h.3.mlp.c_fc"), block_name("lm_head")
    ('transformer.h.3', 'lm_head')
    """
    parts = module.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[: number + 1])


def _module_rows(run: Run, layers: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return the rows of one run in the table of modules."""
    layers = layers.sort_values("position")
    signal = layers["delta_norm"].to_numpy()
    known = signal[~np.isnan(signal)]
    gained = signal - (known[-1] if len(known) else np.nan)
    rows: list[tuple[object, ...]] = []
    for label, at in _group_blocks(_module_names(run, layers)):
        first, last = (int(layers["position"].iloc[i]) for i in (at[0], at[-1]))
        several = f" ({len(at)} modules)" if len(at) > 1 else ""
        numbers = [
            _mean(gained[at]),
            np.nan if np.isnan(gained[at]).all() else float(np.nanmin(gained[at])),
            *(
                _mean(layers[name].to_numpy()[at])
                for name in ("weight_grad_norm", "act_factor", "weight_factor")
            ),
        ]
        where = str(first) if first == last else f"{first}-{last}"
        rows.append((run.name, where, f"{label}{several}", *(round(v, 2) for v in numbers)))
    return rows


def _module_names(run: Run, layers: pd.DataFrame) -> list[str]:
    """Return the name of the module at each position of sorted layers."""
    names = run.layers(["position", "module"]).drop_duplicates("position").set_index("position")
    return names["module"].reindex(layers["position"]).tolist()


def _group_blocks(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Group consecutive modules by block: name and indices. Few modules are not grouped."""
    labels = [block_name(name) for name in names] if len(names) > MOST_MODULES else names
    return [(label, list(at)) for label, at in groupby(range(len(names)), key=lambda i: labels[i])]


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
