"""A sink that stores rows in memory."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from gradlab.recording.rows import LAYERS, STEPS, Rows
from gradlab.results.nullable import from_arrow
from gradlab.sinks.protocol import RunInfo


class Memory:
    """A sink that stores the rows of a run in memory.

    Attributes:
        rows: The arguments of each call of `write`, in order.
        result: The result of the run, as in `run.json`; empty until the run ends.

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
        """Store rows."""
        self.rows.append(rows)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Store the result."""
        self.result = result

    def layers(self) -> pd.DataFrame:
        """Return a frame with the columns of `layers.parquet`."""
        recorded = [rows.layers for rows in self.rows if rows.layers is not None]
        return from_arrow(pa.Table.from_batches(recorded, LAYERS))

    def steps(self) -> pd.DataFrame:
        """Return a frame with the columns of `steps.parquet`."""
        return from_arrow(pa.Table.from_batches([rows.steps for rows in self.rows], STEPS))
