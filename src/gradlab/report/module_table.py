"""The modules of networks that gradlab did not build: what is at which depth, block by block."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from gradlab.results.load import Run

MOST_MODULES = 40  # modules of a network that are told of one by one
SKIPPING = ("resmlp", "transformer")  # networks of gradlab's own in which identities run beside
NUMBERS = ("delta", "weakest", "weight_grad", "act_factor", "weight_factor")
COLUMNS = ("run", "layers", "modules", *NUMBERS)


def module_table(runs: Iterable[Run], layers: pd.DataFrame) -> pd.DataFrame:
    """Return a row per module by depth; of a network with many, per block of modules in a row.

    Columns: run, layers, modules, delta (decades of the error signal above the last layer's, mean
    over the block), weakest (its least), weight_grad (log10 ‖dLoss/dW‖), act_factor, weight_factor.
    Only of watched networks: in gradlab's own, a layer's number is its name.

    Args:
        runs: all of the report.
        layers: as in `reduce.Reduced`, means of log10 over the recorded steps.
    """
    watched = [run for run in runs if run.info.get("watched") and "run" in layers]
    rows = [row for run in watched for row in _of_run(run, layers[layers["run"] == run.name])]
    return pd.DataFrame(rows, columns=COLUMNS)


def broken_chains(runs: Sequence[Run], layers: pd.DataFrame) -> set[str]:
    """Return the runs whose factors make no chain: a module lacks one, or skips pass it by.

    What a chain's factors multiply to, the signal of such a network does not gain.
    """
    found = {run.name for run in runs if run.config.get("model") in SKIPPING}
    for run in runs:
        if run.info.get("watched") and "run" in layers:
            mine = layers[layers["run"] == run.name].sort_values("position")
            inner, outer = mine["act_factor"].iloc[:-1], mine["weight_factor"].iloc[1:]
            if inner.isna().any() or outer.isna().any():
                found.add(run.name)
    return found


def average_blocks(runs: Iterable[Run], layers: pd.DataFrame) -> pd.DataFrame:
    """Return the same rows, of watched networks with many modules with a block's at one position.

    A line through hundreds of modules one by one goes up and down within every block, and fills
    the figure; that of the blocks' means, in a band from least to greatest, shows what depth does.
    """
    places = layers["position"].astype(float)
    for run in runs:
        if run.info.get("watched") and "run" in layers:
            mine = layers[layers["run"] == run.name].sort_values("position")
            for _, at in _blocks(_names(run, mine)):
                members = mine.index[at]
                places[members] = mine.loc[members, "position"].mean()
    return layers.assign(position=places)


def block_name(site: str) -> str:
    """Return the part of a name up to its first number; all of it, if it has none.

    >>> block_name("transformer.h.3.mlp.c_fc"), block_name("lm_head")
    ('transformer.h.3', 'lm_head')
    """
    parts = site.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[: number + 1])


def _of_run(run: Run, layers: pd.DataFrame) -> list[tuple[object, ...]]:
    layers = layers.sort_values("position")
    signal = layers["delta_norm"].to_numpy()
    known = signal[~np.isnan(signal)]
    gained = signal - (known[-1] if len(known) else np.nan)
    rows: list[tuple[object, ...]] = []
    for label, at in _blocks(_names(run, layers)):
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


def _names(run: Run, layers: pd.DataFrame) -> list[str]:
    """Return the module at each position of sorted layers."""
    sites = run.layers(["position", "module"]).drop_duplicates("position").set_index("position")
    return sites["module"].reindex(layers["position"]).tolist()


def _blocks(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return blocks of modules in a row, with which they are; each by itself, if they are few."""
    labels = [block_name(name) for name in names] if len(names) > MOST_MODULES else names
    return [(label, list(at)) for label, at in groupby(range(len(names)), key=lambda i: labels[i])]


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
