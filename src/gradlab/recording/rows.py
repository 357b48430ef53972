"""What the loop hands on: rows by column, and how a member's training ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from gradlab import schema
from gradlab.recording.modules import Site

Columns = dict[str, Any]


@dataclass
class Rows:
    """Some training steps of one member, and the layers of one of them, as arrays by column."""

    steps: Columns
    layers: Columns | None = None

    @classmethod
    def of_steps(
        cls,
        steps: Sequence[int],
        seconds: Sequence[float],
        lrs: Sequence[float],
        table_TK: Tensor,
        classify: bool,
    ) -> "Rows":
        """Make the rows of `steps` from loss, accuracy, grad_norm, clip_factor, descent."""
        loss, accuracy, grad_norm, clip_factor, descent = table_TK.numpy().T
        return cls(
            {
                "step": np.asarray(steps, dtype=np.int32),
                "loss": loss,
                "accuracy": accuracy if classify else None,
                "grad_norm": grad_norm,
                "clip_factor": clip_factor,
                "lr": np.asarray(lrs),
                "descent": descent,
                "seconds": np.asarray(seconds),
            }
        )

    def add_layers(self, step: int, sites: Sequence[Site], table_SC: Tensor) -> None:
        """Add the record of `step`: a row per site, `table_SC` in the order of the schema."""
        table = table_SC.numpy()
        self.layers = {
            "step": np.full(len(sites), step, dtype=np.int32),
            "axis": [site.axis for site in sites],
            "position": np.array([site.position for site in sites], dtype=np.int32),
            "module": [site.name for site in sites],
            **{column.name: table[:, c] for c, column in enumerate(schema.STATISTICS)},
        }


@dataclass
class Outcome:
    """How a member's training ended: a status of `schema.STATUSES`, and the steps it made."""

    status: str = "running"
    steps: int = 0
    first_nonfinite: dict[str, Any] | None = None


class Sink(Protocol):
    """Where rows go: a file, a service, a screen."""

    def write(self, rows: Rows) -> None:
        """Take some steps, and perhaps the layers of one of them."""
        ...


def first_nonfinite(rows: Rows) -> dict[str, Any] | None:
    """Say where in its last record a member left the finite numbers.

    A signal that overflows on its way forward does so first at the lowest position, a gradient at
    the highest. If all that was recorded is finite, the update itself was not.
    """
    if rows.layers is None:
        return None
    layers = over_depth(rows.layers)
    forward = ("weight_norm", "preact_mean", "preact_std", "act_mean", "act_std")
    backward = ("delta_norm", "act_grad_norm", "weight_grad_norm")
    where, bad = "forward", _nonfinite(layers, forward)
    if not len(bad) and not np.isfinite(rows.steps["loss"][-1]):
        where = "loss"
    elif not len(bad):
        where, bad = "backward", _nonfinite(layers, backward)[::-1]
        where = "backward" if len(bad) else "update"
    return {
        "step": int(layers["step"][0]),
        "where": where,
        "position": int(layers["position"][bad[0]]) if len(bad) else None,
        "module": str(layers["module"][bad[0]]) if len(bad) else None,
    }


def over_depth(layers: Columns) -> Columns:
    """Return the rows over depth of one record, as arrays by column."""
    depth = [row for row, axis in enumerate(layers["axis"]) if axis == "depth"]
    return {name: np.asarray(values)[depth] for name, values in layers.items()}


def _nonfinite(layers: Columns, columns: Sequence[str]) -> Any:
    values = np.stack([layers[column] for column in columns])
    return np.flatnonzero(~np.isfinite(values).all(axis=0))
