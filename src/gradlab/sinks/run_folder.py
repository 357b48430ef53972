"""Writes `layers.parquet`, `steps.parquet` and `run.json` of a run, readable at any moment."""

import platform
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gradlab import schema
from gradlab.config.interrupt import uninterrupted
from gradlab.errors import StoreError
from gradlab.recording.rows import LAYERS, STEPS, Rows
from gradlab.results.files import read_json
from gradlab.results.nullable import from_arrow
from gradlab.results.owner import Owner, living_owner
from gradlab.results.parquet import WAITS, Table, write_json
from gradlab.results.resume import is_replaceable, remove_files
from gradlab.sinks.protocol import RunInfo

PACKAGES = ("gradlab", "torch", "numpy", "hydra-core", "pandas", "pyarrow", "wandb")


class Parquet:
    """A sink that writes `layers.parquet`, `steps.parquet` and `run.json` into a folder.

    `gradlab.load(folder)` and `gradlab report FOLDER` read the files, also while the run is going
    on.

    Args:
        path: The folder. It may exist if it does not contain a run.
        interval: Minimal time between two rewrites of a file, in seconds.
        replace: Which run in the folder may be replaced: "nothing", an "unfinished" run, or the
            record of a "watched" network.

    Attributes:
        info: The content of `run.json`.
        layers: The rows of `layers.parquet`.
        steps: The rows of `steps.parquet`.

    Raises:
        StoreError: The folder contains a run that may not be replaced.

    Example:
        >>> import tempfile, torch, gradlab
        >>> folder = tempfile.mkdtemp()
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with gradlab.watch(model, optimizer, sinks=gradlab.sinks.Parquet(folder)):
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(8, 4)).square().mean().backward()
        ...         optimizer.step()
        >>> gradlab.load(folder).runs["status"].tolist()
        ['completed']
    """

    info: dict[str, Any]
    layers: Table
    steps: Table

    def __init__(
        self,
        path: str | Path,
        interval: float = 2.0,
        replace: Literal["nothing", "unfinished", "watched"] = "nothing",
    ) -> None:
        self.path, self.interval, self.replace = Path(path), interval, replace
        self._began, self._owner = time.monotonic(), Owner(self.path)
        if _is_first_process():
            owner = living_owner(self.path)
            if owner is not None:
                raise StoreError(f"{path} is being written by {owner}; choose another folder")
            self._check_replaceable()

    def open(self, run: RunInfo) -> None:
        """Remove the run to be replaced, and write files without rows.

        Raises:
            StoreError: The folder cannot be written, or another process writes it.
        """
        self._began = time.monotonic()  # the clock of the machine may be set back
        self.layers, self.steps = (
            Table(
                self.path / f"{name}.parquet",
                columns,
                self.interval,
                run.writers,
                self._owner.touch,
            )
            for name, columns in (("layers", LAYERS), ("steps", STEPS))
        )
        self.info = {
            "schema": schema.VERSION,
            "status": "running",
            "verdict": None,
            "learning": None,
            "findings": [],
            **run.record,
            "config": dict(run.config),
            "versions": versions(),
            "timings": {
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": None,
            },
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._owner.acquire()
            self._check_replaceable()  # again: another process may have written a run since then
            (self.path / "run.json").unlink(missing_ok=True)  # the folder counts as empty now
            if self.replace == "unfinished":
                remove_files(self.path)
            self._flush()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error

    def write(self, rows: Rows) -> None:
        """Append rows; the files are rewritten at most every `interval` seconds."""
        self._owner.acquire()  # again, if a monitor was stopped and restarted
        if rows.layers is not None:
            self.layers.append(rows.layers)
        self.steps.append(rows.steps)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write all rows, and the result to `run.json`."""
        self.info["timings"]["seconds"] = time.monotonic() - self._began
        self.info |= result
        try:
            with uninterrupted():
                self._flush()
        finally:
            self._owner.release()

    def release(self) -> None:
        """Let other processes write the folder; for a run that is given up without a result."""
        self._owner.release()

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of `layers.parquet` and of `steps.parquet`."""
        return from_arrow(self.layers.table()), from_arrow(self.steps.table())

    def _check_replaceable(self) -> None:
        watched = self.replace == "watched" and _is_watched(self.path)
        if not watched and not is_replaceable(self.path, resume=self.replace == "unfinished"):
            self._owner.release()
            raise StoreError(f"{self.path} already holds a run; choose another folder")

    def _flush(self) -> None:
        self._owner.touch()
        self.layers.flush(WAITS)
        self.steps.flush(WAITS)
        write_json(self.path / "run.json", self.info)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a run's numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _is_watched(path: Path) -> bool:
    """Return whether a folder contains the record of a watched network."""
    try:
        return read_json(path / "run.json").get("watched") is True
    except (OSError, StoreError, AttributeError):
        return False


def _is_first_process() -> bool:
    """Return whether this process writes; the others may find files that it has just written."""
    dist: Any = sys.modules.get("torch.distributed")  # sinks work without torch
    return dist is None or not dist.is_initialized() or dist.get_rank() == 0
