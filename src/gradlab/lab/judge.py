"""What is wrong with a watched network: the same rules, as far as they speak of foreign modules."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from torch.optim.optimizer import Optimizer

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.verdict import diagnose


def findings(
    layers: pd.DataFrame, steps: pd.DataFrame, config: dict[str, Any], one_sided: Sequence[str]
) -> list[Finding]:
    """Return what is wrong, gravest first.

    The remedies of a finding are overrides of gradlab's own configuration, and left out.

    Args:
        layers: the record.
        steps: likewise.
        config: of `configuration`.
        one_sided: sites whose activation is flat on one side by design.
    """
    if layers.empty:
        return []
    flat = layers["site"].isin(one_sided)
    judged = layers.assign(saturated=layers["saturated"].mask(flat, 0.0))
    known = steps.dropna(axis=1, how="all")  # a loss that nobody told is no loss that is not finite
    return [replace(found, remedies=()) for found in diagnose(judged, known, config)]


def configuration(
    network: nn.Module, optimizers: Sequence[Optimizer], every: int | str
) -> dict[str, Any]:
    """Return what is known of the setting, with the keys that gradlab's own runs have."""
    out: dict[str, Any] = {"model": type(network).__name__, "record.every": every}
    first = next(network.parameters(), None)
    if first is not None:
        out["train.dtype"] = str(first.dtype).removeprefix("torch.")
    if optimizers:
        group = optimizers[0].param_groups[0]
        out["optim"] = type(optimizers[0]).__name__.lower()
        out |= {f"optim.{key}": float(group[key]) for key in ("lr", "eps") if key in group}
    return out


def status(ended: str, steps: pd.DataFrame) -> str:
    """Return how a run ended: diverged, if its last loss or gradient is not finite."""
    if steps.empty:
        return ended
    lost = np.isinf(steps[["loss", "grad_norm"]].iloc[-1].to_numpy(dtype=float)).any()
    return "diverged" if ended == "completed" and lost else ended
