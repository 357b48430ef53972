"""Signals of many calls as one: calls, micro-batches and ranks are parts of one batch.

What is known of a call is a row of numbers, `KNOWN`; the whole batch has the same row. A norm over
all entries is the root of the sum of the parts' squares; a variance is the mean of the parts' own
and of how far their means lie apart.
"""

import torch
from torch import Tensor

from gradlab.recording.columns import is_null
from gradlab.recording.norms import norm
from gradlab.recording.rows import NULL

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
saturated entries; and the norms of four gradients. `NULL` stands for a missing number."""


def pooled(rows_CK: Tensor) -> Tensor:
    """Return one row [..., K] for calls [C, ..., K]; a column is null only if it is so in each."""
    at = {name: rows_CK[..., k] for k, name in enumerate(KNOWN)}
    out = {name: _root_of_squares(at[name]) for name in NORMS}
    for part in ("preact", "act"):
        count = at[f"{part}_count"]
        mean, std = at[f"{part}_mean"], at[f"{part}_std"]
        counted = torch.where(is_null(count), 0.0, count)
        total = counted.sum(0)
        weight = torch.where(total > 0, counted / total, 0.0)
        centre = _weighted(weight, mean)
        # Not from squares of means: for parts with equal means they would cancel to noise.
        deviations = torch.cat([std, torch.where(is_null(mean), NULL, mean - centre)])
        root = torch.cat([weight, weight]).sqrt()
        out |= {
            f"{part}_count": torch.where(total > 0, total, NULL),
            f"{part}_mean": centre,
            f"{part}_std": _root_of_squares(torch.where(root > 0, root * deviations, NULL)),
        }
        if part == "act":
            out["saturated"] = _weighted(weight, at["saturated"])
    return torch.stack([out[name] for name in KNOWN], dim=-1)


def _weighted(weight_C: Tensor, value_C: Tensor) -> Tensor:
    """Return the weighted sum over the calls with a weight; null if none has, or a value is."""
    used = weight_C > 0
    total = torch.where(used, weight_C * value_C, 0.0).sum(0)
    null = ~used.any(0) | (used & is_null(value_C)).any(0)
    return torch.where(null, NULL, total)


def _root_of_squares(value_C: Tensor) -> Tensor:
    measured = ~is_null(value_C)
    total = norm(torch.where(measured, value_C, 0.0), 0)
    return torch.where(measured.any(0), total, NULL)
