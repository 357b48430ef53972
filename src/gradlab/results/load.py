"""Read results back: every run under a folder, damaged files named and left out."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab import schema
from gradlab.errors import StoreError
from gradlab.pages.numbers import cell, count
from gradlab.pages.page import PageTable, notebook_html, table_lines
from gradlab.results import validation
from gradlab.results.context import attach

MOST_SHOWN = 20  # runs that the text and the notebook output of `load` show


@dataclass(frozen=True)
class Run:
    """One run on disk: its name (path below the folder that was searched) and its `run.json`."""

    name: str
    path: Path
    info: dict[str, Any] = field(repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration, flattened: `model.depth`, `clip`, …."""
        return self.info["config"]

    def layers(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read `layers.parquet`, or only some of its columns."""
        return _read(self.path / "layers.parquet", columns)

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read `steps.parquet`, or only some of its columns."""
        return _read(self.path / "steps.parquet", columns)


class Found(NamedTuple):
    """The runs under a folder, and one line for each file that could not be read."""

    runs: list[Run]
    damaged: list[str]


class Frames(NamedTuple):
    """Pandas frames of many runs; each has the run's name in the column `run`."""

    runs: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame

    def __repr__(self) -> str:
        """Return the runs as a table of text."""
        return "\n".join([self._heading(), "", *table_lines(self._table())])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the runs as a table for a notebook."""
        return notebook_html(self._heading(), self._table())

    def _heading(self) -> str:
        sizes = f"{len(self.steps):,} rows of steps, {len(self.layers):,} rows of layers"
        return f"{count(len(self.runs), 'run')}; {sizes}"

    def _table(self) -> PageTable:
        """Return the first runs, with the columns in which the runs differ."""
        fixed = [name for name in ("run", "status", "verdict") if name in self.runs]
        differ = [name for name in self.runs if self.runs[name].nunique(dropna=False) > 1]
        names = list(dict.fromkeys([*fixed, *(n for n in differ if n != "config_hash")]))
        rows = [list(map(cell, row)) for row in self.runs[names].head(MOST_SHOWN).to_numpy()]
        if len(self.runs) > MOST_SHOWN:
            rows.append(["…", *[""] * (len(names) - 1)])
        return PageTable([str(name) for name in names], rows)


def find(folder: str | Path) -> Found:
    """Find every run under `folder`, in natural order (2 before 10).

    Only the footers of the Parquet files are read. A run with a damaged file is left out and named.

    Raises:
        StoreError: the folder is missing, or holds no run.
    """
    root = Path(folder)
    if not root.is_dir():
        raise StoreError(f"expected a folder of runs, but {folder} is not a folder")
    files = sorted(root.rglob("run.json"), key=_natural)
    if not files:
        raise StoreError(f"expected runs under {folder}, but no run.json is there: gradlab run")
    runs: list[Run] = []
    damaged: list[str] = []
    for file in files:
        name = file.parent.relative_to(root).as_posix()
        try:
            runs.append(_open(name if name != "." else root.resolve().name, file))
        except (OSError, ValueError, pa.ArrowException) as error:
            damaged.append(str(error).splitlines()[0])
    if not runs:
        raise unreadable(folder, damaged)
    return Found(runs, damaged)


def load(folder: str | Path) -> Frames:
    """Load every run under `folder` as pandas frames: `.runs`, `.steps`, `.layers`.

    `runs` has a row per run: name, status, verdict, seed, and the configuration as columns; a list
    in the configuration is there as JSON text, `[0.9, 0.99]`, so that one can group by it. The
    other two are the Parquet files, stacked, with the run's name in front (see `gradlab.schema`).

    A run with a damaged file is in none of the three: a `UserWarning` names the file.

    Args:
        folder: a folder of runs, at any depth, or one run.

    Returns:
        The three frames, as a named tuple.

    Raises:
        StoreError: the folder is missing, or holds no run that can be read.

    Example:
        >>> import gradlab
        >>> gradlab.load("multirun").runs["verdict"].tolist()
        ['vanishing']
    """
    found, damaged = find(folder)
    runs: list[Run] = []
    steps: list[pd.DataFrame] = []
    layers: list[pd.DataFrame] = []
    for run in found:
        try:
            content = run.steps(), run.layers()
        except StoreError as error:
            damaged.append(str(error))
            continue
        runs.append(run)
        steps.append(content[0])
        layers.append(content[1])
    if not runs:
        raise unreadable(folder, damaged)
    for line in damaged:
        warnings.warn(f"left out: {line}", stacklevel=2)
    infos = {run.name: run.info for run in runs}
    stacked = _stack(runs, steps)
    return Frames(runs_frame(runs), stacked, attach(_stack(runs, layers), infos, stacked))


def unreadable(folder: str | Path, damaged: Sequence[str]) -> StoreError:
    """Return the error of a folder all of whose runs are damaged: it names the first."""
    return StoreError(f"no run under {folder} can be read: {damaged[0]}")


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run: what `run.json` says of it, and its configuration as columns."""
    keys = ("status", "verdict", "config_hash", "seed")
    rows: list[dict[str, Any]] = []
    for run in runs:
        known = {"run": run.name, **{key: run.info.get(key) for key in keys}}
        config = {key: hashable(value) for key, value in run.config.items()}
        rows.append({**known, **config, **known})  # no configuration renames a run
    return pd.DataFrame(rows)


def hashable(value: Any) -> Any:
    """Return a configuration's value as a frame can group by it: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _stack(runs: Sequence[Run], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    stacked = pd.concat(frames, keys=[run.name for run in runs], names=["run"])
    return stacked.reset_index(level="run").reset_index(drop=True)


def _open(name: str, file: Path) -> Run:
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    _refuse(file, validation.in_info(info))
    for columns, part in (schema.LAYERS, "layers"), (schema.STEPS, "steps"):
        path = file.parent / f"{part}.parquet"
        try:
            present = pq.read_schema(path)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing") from None
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
        _refuse(path, validation.in_schema(present, columns))
    return Run(name, file.parent, info)


def _refuse(path: Path, wrong: str | None) -> None:
    if wrong:
        raise ValueError(f"{path} is damaged: {wrong}")


def _read(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:  # a third of the time that read_table takes
            return file.read(columns and list(columns), use_threads=False).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]
