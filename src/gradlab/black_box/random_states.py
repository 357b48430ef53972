"""The states of random generators as containers of tensors and numbers, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def to_tensors(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return states of random generators as containers that can be stored.

    Args:
        states: What `recorded_calls.rng_states` returned.
    """
    out = dict(states)
    if "numpy" in states:
        name, keys, *rest = states["numpy"]
        out["numpy"] = (str(name), torch.from_numpy(keys.astype(np.int64)), *rest)
    if "python" in states:
        version, numbers, following = states["python"]
        out["python"] = (version, torch.tensor(numbers), following)
    return out


def from_tensors(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states that `to_tensors` has stored, without devices that do not exist."""
    out = {
        key: state
        for key, state in stored.items()
        if not key.startswith("cuda") or int(key.partition(":")[2]) < torch.cuda.device_count()
    }
    if "numpy" in stored:
        name, keys, *rest = stored["numpy"]
        out["numpy"] = (name, keys.numpy().astype(np.uint32), *rest)
    if "python" in stored:
        version, numbers, following = stored["python"]
        out["python"] = (version, tuple(numbers.tolist()), following)
    return out
