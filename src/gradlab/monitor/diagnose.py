"""What is wrong with a watched network: the same rules, as far as they speak of foreign modules."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from torch.optim.optimizer import Optimizer

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.profile import decades
from gradlab.diagnosis.record import LIMITS
from gradlab.diagnosis.verdict import diagnose
from gradlab.monitor.optimizers import setting

SHOWN = 3  # names in a cause


def findings(
    layers: pd.DataFrame, steps: pd.DataFrame, config: dict[str, Any], one_sided: Sequence[str]
) -> list[Finding]:
    """Return what is wrong, gravest first; causes name the modules.

    The remedies of a finding are overrides of gradlab's own configuration, and left out.

    Args:
        layers: the record.
        steps: likewise.
        config: of `configuration`.
        one_sided: sites whose activation is flat on one side by design.
    """
    if layers.empty:
        return []
    flat = layers["module"].isin(one_sided)
    judged = layers.assign(saturated=layers["saturated"].mask(flat, 0.0))
    known = steps.dropna(axis=1, how="all")  # a loss that nobody told is not one of NaN
    main = judged.assign(delta_norm=judged["delta_norm"].mask(branches(judged)))
    names = layers.drop_duplicates("position").set_index("position")["module"]
    lost = next((f for f in diagnose(main, known, config) if f.kind == "vanishing"), None)
    every = [lost if f.kind == "vanishing" else f for f in diagnose(judged, known, config)]
    return [_named(found, names) for found in every if found is not None]


def branches(layers: pd.DataFrame) -> pd.Series:
    """Say of each row whether its module is off the main path, as are the queries of attention.

    A signal that is weak there and strong again nearer the input has not vanished on its way.
    """
    weak = (decades(layers) <= -LIMITS["decades"]).mean() >= 0.5
    strong_below = (~weak & decades(layers).notna().any()).cummax()
    off = weak & strong_below
    return layers["position"].isin(off.index[off])


def _named(found: Finding, names: pd.Series) -> Finding:
    """Name the modules; of factors that do not make a chain, say nothing."""
    evidence = {key: value for key, value in found.evidence.items() if not math.isnan(value)}
    broken = len(evidence) < len(found.evidence)
    cause = found.cause.split(": ")[0] if broken else found.cause
    if found.where:
        more = ", …" if len(found.where) > SHOWN else ""
        cause = f"{cause}; at {', '.join(names[list(found.where[:SHOWN])])}{more}"
    return replace(found, cause=cause, evidence=evidence, remedies=())


def configuration(
    network: nn.Module, optimizers: Sequence[Optimizer], every: int | str
) -> dict[str, Any]:
    """Return what is known of the setting, with the keys that gradlab's own runs have."""
    out: dict[str, Any] = {"model": type(network).__name__, "record.every": every}
    first = next(network.parameters(), None)
    if first is not None:
        out["train.dtype"] = str(first.dtype).removeprefix("torch.")
    if optimizers:
        out["optim"] = type(optimizers[0]).__name__.lower()
        told = {f"optim.{key}": setting(optimizers[0], key) for key in ("lr", "eps")}
        out |= {key: value for key, value in told.items() if not math.isnan(value)}
    return out


def status(ended: str, steps: pd.DataFrame) -> str:
    """Return how a run ended: diverged, if its last loss or gradient is not finite."""
    if steps.empty:
        return ended
    lost = np.isinf(steps[["loss", "grad_norm"]].iloc[-1].to_numpy(dtype=float)).any()
    return "diverged" if ended == "completed" and lost else ended
