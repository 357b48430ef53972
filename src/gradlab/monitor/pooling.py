"""Signals of many calls as one: calls, micro-batches and ranks are parts of one batch.

What is known of a call is a row of numbers, `KNOWN`; the whole batch has the same row. A norm over
all entries is the root of the sum of the parts' squares; a variance is the mean of the parts' own
and of how far their means lie apart.
"""

import math

import torch
from torch import Tensor

from gradlab.recording.norms import norm

NORMS = ("delta", "back", "preact_grad", "act_grad")
KNOWN = (
    "preact_count",
    "preact_mean",
    "preact_std",
    "act_count",
    "act_mean",
    "act_std",
    "saturated",
    *NORMS,
)
"""Of one call: entries, their mean and deviation, before and after the activation; the share of
saturated entries; and the norms of four gradients. NaN stands for what a call has not."""


def pooled(rows_CK: Tensor) -> Tensor:
    """Return one row [..., K] for calls [C, ..., K]; a column is NaN only if it is so in each."""
    at = {name: rows_CK[..., k] for k, name in enumerate(KNOWN)}
    out = {name: _root_of_squares(at[name]) for name in NORMS}
    for part in ("preact", "act"):
        count = at[f"{part}_count"]
        mean, std = at[f"{part}_mean"], at[f"{part}_std"]
        total = count.nansum(0)
        weight = torch.where(count.isnan(), 0.0, count / total)
        centre = _weighted(weight, mean)
        # Not centred by squares of means: those of parts that agree would cancel to noise.
        apart = _weighted(weight, (mean - centre).square())
        out |= {
            f"{part}_count": torch.where(total > 0, total, math.nan),
            f"{part}_mean": centre,
            f"{part}_std": (_weighted(weight, std.square()) + apart).sqrt(),
        }
        if part == "act":
            out["saturated"] = _weighted(weight, at["saturated"])
    return torch.stack([out[name] for name in KNOWN], dim=-1)


def _weighted(weight_C: Tensor, value_C: Tensor) -> Tensor:
    """Return the sum of weighted values over the calls that have one; NaN if none has."""
    there = weight_C > 0
    total = torch.where(there, weight_C * value_C, 0.0).sum(0)
    return torch.where(there.any(0), total, math.nan)


def _root_of_squares(value_C: Tensor) -> Tensor:
    there = ~value_C.isnan()
    total = norm(torch.where(there, value_C, 0.0), 0)
    return torch.where(there.any(0), total, math.nan)
