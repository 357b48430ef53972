"""A watched run on disk: the same three files as any run, readable at any moment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlab import schema
from gradlab.errors import StoreError
from gradlab.recording.rows import Rows
from gradlab.results.parquet import Table, write_json
from gradlab.results.resume import clear, free
from gradlab.sinks.run_folder import versions


class Parquet:
    """A sink that writes `layers.parquet`, `steps.parquet` and `run.json`.

    Args:
        path: of the folder.
        interval: seconds from one rewrite of a file to the next, at least.
        again: whether the record of a watched network that is there may be replaced.

    Raises:
        StoreError: the folder already holds a run, or cannot be written.
    """

    def __init__(self, path: str | Path, interval: float = 2.0, again: bool = False) -> None:
        self.path = Path(path)
        if not (free(self.path, resume=False) or (again and is_watched(self.path))):
            raise StoreError(f"{path} already holds a run; choose another folder")
        self._layers = Table(self.path / "layers.parquet", schema.LAYERS, interval)
        self._steps = Table(self.path / "steps.parquet", schema.STEPS, interval)
        self._begun = False

    def write(self, rows: Rows) -> None:
        """Take some steps, and the layers of one of them."""
        self._begin()
        if rows.layers is not None:
            self._layers.append(rows.layers)
        self._steps.append(rows.steps)

    def finish(self, info: Mapping[str, Any]) -> None:
        """Write everything, and what is now known of the run."""
        self._begin()
        self._layers.flush()
        self._steps.flush()
        self._write(info)

    def _begin(self) -> None:
        if self._begun:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            clear(self.path)
            self._layers.flush()
            self._steps.flush()
            self._write({"status": "running", "config": {}})
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error
        self._begun = True

    def _write(self, info: Mapping[str, Any]) -> None:
        base = {"schema": schema.VERSION, "verdict": None, "findings": [], "watched": True}
        write_json(self.path / "run.json", {**base, **info, "versions": versions()})


def is_watched(path: Path) -> bool:
    """Say whether the run in a folder is the record of a watched network."""
    try:
        return json.loads((path / "run.json").read_text(encoding="utf-8")).get("watched") is True
    except (OSError, ValueError, AttributeError):
        return False
