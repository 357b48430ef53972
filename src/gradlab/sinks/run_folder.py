"""The folder of one run: `layers.parquet`, `steps.parquet`, `run.json`."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from gradlab import schema
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import StoreError
from gradlab.recording.rows import Rows
from gradlab.results.parquet import Table, write_json
from gradlab.results.resume import clear, free

PACKAGES = ("gradlab", "torch", "numpy", "hydra-core", "pandas", "pyarrow", "wandb")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run's numbers may depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


class Folder:
    """A sink that leaves a run on disk, readable at any moment.

    Args:
        path: of the folder.
        settings: of the run.
        dataset: that it is trained on.
        interval: seconds from one rewrite of a file to the next, at least.
        members: how many runs one process writes at the same time; they share what writing may
            cost.

    Raises:
        StoreError: the folder already holds a run, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        dataset: Dataset,
        interval: float = 2.0,
        members: int = 1,
    ) -> None:
        if not free(path, settings.resume):
            raise StoreError(
                f"{path} already holds a run; choose another hydra.run.dir or sweep.dir"
                + ("; sweep.resume=true makes it anew, for it was cut short" * free(path, True))
            )
        self.path = path
        self.layers = Table(path / "layers.parquet", schema.LAYERS, interval, members)
        self.steps = Table(path / "steps.parquet", schema.STEPS, interval, members)
        self.began = datetime.now(UTC)
        self.info: dict[str, Any] = {
            "schema": schema.VERSION,
            "status": "running",
            "verdict": None,
            "findings": [],
            "config_hash": settings.config_hash,
            "seed": settings.seed,
            "config": settings.flat,
            "data": {
                "inputs": dataset.x_train.shape[1],
                "outputs": dataset.n_out,
                "input_rms": float(dataset.x_train.square().mean().sqrt()),
            },
            "versions": versions(),
            "timings": {"started": self.began.isoformat(timespec="seconds"), "seconds": None},
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            if settings.resume:
                clear(path)
            self.layers.flush()
            self.steps.flush()
            write_json(path / "run.json", self.info)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, rows: Rows) -> None:
        """Take some steps, and perhaps the layers of one of them."""
        if rows.layers is not None:
            self.layers.append(rows.layers)
        self.steps.append(rows.steps)

    def frame(self) -> pd.DataFrame:
        """Return what `layers.parquet` holds."""
        return self.layers.table().to_pandas()

    def finish(self, info: Mapping[str, Any]) -> None:
        """Write everything, and what is now known of the run (status, verdict, …)."""
        self.layers.flush()
        self.steps.flush()
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        self.info |= info
        self.info["timings"]["seconds"] = seconds
        write_json(self.path / "run.json", self.info)
