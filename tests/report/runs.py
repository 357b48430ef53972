"""Write run folders with known numbers, in the format of real runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradlab import schema
from gradlab.recording.rows import LAYERS, STEPS
from gradlab.results.parquet import Table, write_json


def write_run(
    folder: Path,
    delta: Any = (1e-6, 1e-3, 1.0),
    *,
    steps: int = 3,
    verdict: str | None = "healthy",
    status: str = "completed",
    losses: Any = (2.0, 1.5, 1.0),
    act: float = 0.1,
    weight: float = 1.0,
    seed: int = 0,
    since: int = 0,
    data: dict[str, Any] | None = None,
    **config: Any,
) -> None:
    """Write a run with `steps` recorded steps, each with ‖delta_l‖ = `delta`."""
    folder.mkdir(parents=True)
    count = len(delta)
    layers = Table(folder / "layers.parquet", LAYERS)
    for step in range(steps):
        columns = {column.name: np.ones(count) for column in schema.STATISTICS}
        columns |= {"delta_norm": np.asarray(delta, float)}
        columns |= {"act_factor": np.full(count, act), "weight_factor": np.full(count, weight)}
        keys = {"step": [step] * count, "axis": ["depth"] * count, "module": ["x"] * count}
        content = {**keys, "position": list(range(1, count + 1)), **columns}
        layers.append(pa.RecordBatch.from_pydict(content, schema=LAYERS))
    layers.flush()
    table = Table(folder / "steps.parquet", STEPS)
    if len(losses):
        values = {column.name: np.ones(len(losses)) for column in schema.STEPS}
        values |= {"step": list(range(len(losses))), "loss": np.asarray(losses, float)}
        table.append(pa.RecordBatch.from_pydict(values, schema=STEPS))
    table.flush()
    finding = {
        "kind": verdict,
        "where": [1],
        "since": since,
        "severity": "severe",
        "cause": f"made to be {verdict}",
        "evidence": {},
        "remedies": [],
    }
    info = {
        "schema": schema.VERSION,
        "status": status,
        "verdict": verdict,
        "findings": [] if verdict in (None, "healthy", "diverged") else [finding],
        "config_hash": folder.name,
        "seed": seed,
        "config": {"model": "mlp", "seed": seed, **config},
        "data": data,
        "test": {"loss": 1.0, "accuracy": 0.5},
        "error": None,
    }
    write_json(folder / "run.json", info)
