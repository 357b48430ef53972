"""Make settings and train runs in tests."""

import copy
from typing import Any

import pyarrow as pa

from gradlab.config import choices
from gradlab.config.settings import Settings, from_config
from gradlab.data.dataset import Dataset
from gradlab.recording.rows import Outcome, Rows
from gradlab.training.loop import Loop

GROUPS = {
    "model": "mlp",
    "data": "digits",
    "loss": "cross_entropy",
    "optim": "sgd",
    "clip": "none",
    "diagnose": "default",
}


def config(**overrides: Any) -> dict[str, Any]:
    """Return the default configuration with keys replaced: `clip="norm"`, `train__steps=3`."""
    content = copy.deepcopy(choices.base())
    for group, name in GROUPS.items():
        content[group] = copy.deepcopy(choices.load(group, overrides.pop(group, name)))
    sinks = overrides.pop("tracking", [])
    content["tracking"] = {name: copy.deepcopy(choices.load_sink(name)) for name in sinks}
    for key, value in overrides.items():
        *path, last = key.split("__")
        section = content
        for part in path:
            section = section[part]
        section[last] = value
    return content


def settings(**overrides: Any) -> Settings:
    return from_config(config(**overrides))


def batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows of a schema; columns that are missing are null."""
    nulls = [None] * len(columns["step"])
    content = {name: columns.get(name, nulls) for name in schema.names}
    return pa.RecordBatch.from_pydict(content, schema=schema)


def arrays(batch: pa.RecordBatch) -> dict[str, Any]:
    return {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}


class Memory:
    """A sink that stores all rows."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []

    def write(self, rows: Rows) -> None:
        self.rows.append(rows)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The recorded rows as NumPy arrays by column; null becomes NaN."""
        return [arrays(rows.layers) for rows in self.rows if rows.layers is not None]

    def steps(self, column: str) -> list[float]:
        return [v for rows in self.rows for v in arrays(rows.steps)[column].tolist()]


def train(*members: Settings, dataset: Dataset | None = None) -> tuple[Loop, list[Memory]]:
    """Train a stack of `members`; return the loop and the sink of each member."""
    sinks = [Memory() for _ in members]
    loop = Loop(members, dataset or members[0].data.call(), [[sink] for sink in sinks])
    outcomes: list[Outcome] = loop.run()
    assert outcomes is loop.history.outcomes
    return loop, sinks
