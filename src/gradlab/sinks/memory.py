"""Rows in memory: the sites in order of depth, and what was recorded of them as frames."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from gradlab import schema
from gradlab.recording.rows import Columns, Rows
from gradlab.sinks.protocol import RunInfo


def by_depth(sites: int, heard: Sequence[int]) -> list[int]:
    """Return all sites, nearest the input first: those that were heard in the order of their calls.

    One that was not comes after the one that was registered before it.
    """
    order = list(heard)
    for index in range(sites):
        if index not in heard:
            order.insert(order.index(index - 1) + 1 if index else 0, index)
    return order


def rows_of(step: int, names: Sequence[str], table_SC: Tensor, lr: float, seconds: float) -> Rows:
    """Return the rows of a recorded step.

    Args:
        step: updates made before it.
        names: of the sites, by depth.
        table_SC: their columns, and in a last row the loss, the norm of the whole gradient and what
            clipping left of it.
        lr: the learning rate.
        seconds: since the beginning.
    """
    loss, grad_norm, clip_factor = table_SC[-1, :3].tolist()
    table = table_SC[:-1].numpy().copy()  # a view would keep the tensor
    layers: Columns = {
        "step": np.full(len(names), step, dtype=np.int32),
        "axis": ["depth"] * len(names),
        "position": np.arange(1, len(names) + 1, dtype=np.int32),
        "module": list(names),
        **{column.name: table[:, c] for c, column in enumerate(schema.STATISTICS)},
    }
    steps: Columns = {
        "step": np.array([step], dtype=np.int32),
        "loss": np.array([loss]),
        "accuracy": None,
        "grad_norm": np.array([grad_norm]),
        "clip_factor": np.array([clip_factor]),
        "lr": np.array([lr]),
        "descent": np.array([math.nan]),
        "seconds": np.array([seconds]),
    }
    return Rows(steps, layers)


def frame(parts: Sequence[Columns], columns: tuple[schema.Column, ...]) -> pd.DataFrame:
    """Return recorded rows as one frame, with the columns and dtypes of the schema."""
    return pd.DataFrame({column.name: _stacked(parts, column) for column in columns})


def _stacked(parts: Sequence[Columns], column: schema.Column) -> Any:
    if column.dtype == "string":
        return pd.Series([value for part in parts for value in part[column.name]], dtype=str)
    given = [_values(part, column.name) for part in parts]
    return np.concatenate([np.empty(0), *given]).astype(column.dtype)


def _values(part: Columns, name: str) -> Any:
    return np.full(len(part["step"]), np.nan) if part[name] is None else part[name]


class Memory:
    """Keeps the rows in memory.

    Attributes:
        rows: The rows in the order of their arrival.
        result: The content of `run.json`; empty until the run ends.

    Example:
        >>> import torch, gradlab
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> memory = gradlab.sinks.Memory()
        >>> with gradlab.watch(model, optimizer, sinks=memory):
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(8, 4)).square().mean().backward()
        ...         optimizer.step()
        >>> memory.steps()["step"].tolist()
        [0, 1, 2]
    """

    def __init__(self) -> None:
        self.rows: list[Rows] = []
        self.result: Mapping[str, Any] = {}

    def open(self, run: RunInfo) -> None:
        """Do nothing: memory needs no preparation."""

    def write(self, rows: Rows) -> None:
        """Keep rows."""
        self.rows.append(rows)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep the result."""
        self.result = result

    def layers(self) -> pd.DataFrame:
        """Return the layers: the columns of `layers.parquet`."""
        return frame([rows.layers for rows in self.rows if rows.layers is not None], schema.LAYERS)

    def steps(self) -> pd.DataFrame:
        """Return the steps: the columns of `steps.parquet`."""
        return frame([rows.steps for rows in self.rows], schema.STEPS)
