"""Reads every run under a folder; leaves out damaged runs and names them."""

import json
import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab import schema
from gradlab.errors import StoreError, first_line, printable
from gradlab.pages.numbers import cell, count
from gradlab.pages.page import PageTable, notebook_html, table_lines
from gradlab.recording.rows import LAYERS, STEPS
from gradlab.results.context import attach
from gradlab.results.files import open_regular, read_json
from gradlab.results.nullable import from_arrow, values_and_mask
from gradlab.results.parquet import is_intact
from gradlab.results.run_schema import wrong_info

MOST_SHOWN = 20  # runs in the printed and the notebook output of `load`
KEYS = ("status", "verdict", "learning", "config_hash", "seed")
"""The keys of `run.json` that are columns of `runs`."""


@dataclass(frozen=True)
class Run:
    """One run on disk.

    Attributes:
        name: Path of the run, relative to the folder that was searched.
        path: Path of the run's folder.
        info: Content of `run.json`.
    """

    name: str
    path: Path
    info: dict[str, Any] = field(repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration, keyed by dotted name such as `model.depth`."""
        return self.info["config"]

    def layers(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read `layers.parquet`; with `columns`, only these columns."""
        return _read(self.path / "layers.parquet", columns)

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read `steps.parquet`; with `columns`, only these columns."""
        return _read(self.path / "steps.parquet", columns)


class Found(NamedTuple):
    """The runs under a folder, and a line of text for each run that cannot be read."""

    runs: list[Run]
    damaged: list[str]


class Frames(NamedTuple):
    """Pandas frames of many runs; in each, the column `run` has the name of the run."""

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
        """Return a table of the first runs, with the columns in which runs differ."""
        fixed = [name for name in ("run", "status", "verdict") if name in self.runs]
        fixed += ["learning"] if self.runs["learning"].notna().any() else []
        differ = [name for name in self.runs if self.runs[name].nunique(dropna=False) > 1]
        names = list(dict.fromkeys([*fixed, *(n for n in differ if n != "config_hash")]))
        rows = [list(map(cell, row)) for row in self.runs[names].head(MOST_SHOWN).to_numpy()]
        if len(self.runs) > MOST_SHOWN:
            rows.append(["…", *[""] * (len(names) - 1)])
        return PageTable([str(name) for name in names], rows)


def find(folder: str | Path) -> Found:
    """Find every run under `folder`, in natural order (2 before 10).

    This reads `run.json` and the footers of the Parquet files. It executes nothing in the folder,
    and does not follow links.

    Args:
        folder: A folder that contains runs at any depth, or the folder of one run.

    Returns:
        The runs, and a line of text for each damaged run.

    Raises:
        StoreError: The folder is missing, or no run in it can be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise StoreError(f"expected a folder of runs, but {folder} is not a folder")
    files = sorted(_files(root), key=_natural)
    if not files:
        raise StoreError(
            f"expected runs under {folder}, but it contains no run.json; run gradlab run first"
        )
    runs: list[Run] = []
    damaged: list[str] = []
    for file in files:
        name = file.parent.relative_to(root).as_posix()
        try:
            runs.append(_open(name if name != "." else root.resolve().name, file))
        except FileNotFoundError:
            damaged.append(f"{file} was removed just now")
        except StoreError as error:
            damaged.append(str(error))
    if not runs:
        raise unreadable(folder, damaged)
    return Found(runs, damaged)


def _files(root: Path) -> list[Path]:
    """Return each `run.json` under a folder, without following links to folders."""
    return [
        Path(folder, "run.json")
        for folder, folders, files in os.walk(root)
        if "run.json" in (*folders, *files)
    ]


def load(folder: str | Path) -> Frames:
    """Load every run under a folder as pandas frames: `.runs`, `.steps`, `.layers`.

    `runs` has a row for each run: name, status, verdict, learning, seed, final and best training
    loss and accuracy, test loss and accuracy, and every key of the configuration. A list in the
    configuration becomes JSON text such as `[0.9, 0.99]`, so that `groupby` accepts it. `steps` and
    `layers` contain the Parquet files of all runs; `gradlab.schema` describes their columns.

    Float columns of `steps` and `layers` have the Arrow dtype `double[pyarrow]`, in which null
    ("not measured") and NaN differ. `gradlab.results.nullable` converts them to NumPy.

    A run with a damaged file is left out; a `UserWarning` names the file.

    Args:
        folder: A folder that contains runs at any depth, or the folder of one run.

    Returns:
        The three frames, as a named tuple.

    Raises:
        StoreError: The folder is missing, or no run in it can be read.

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
    return Frames(runs_frame(runs, steps), stacked, attach(_stack(runs, layers), infos, stacked))


def unreadable(folder: str | Path, damaged: Sequence[str]) -> StoreError:
    """Return the error for a folder in which no run can be read, with the first damaged run."""
    return StoreError(f"no run under {folder} can be read: {damaged[0]}")


def runs_frame(runs: Sequence[Run], steps: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """Make a frame with a row for each run.

    Args:
        runs: The runs.
        steps: Frame of `steps.parquet` of each run; if empty, loss and accuracy are left out.

    Returns:
        A frame with the entries of `run.json`, loss and accuracy, and the configuration.
    """
    rows: list[dict[str, Any]] = []
    for index, run in enumerate(runs):
        known = {"run": run.name, **{key: run.info.get(key) for key in KEYS}}
        if steps:
            test: dict[str, Any] = run.info.get("test") or {}
            held_out = {f"test_{name}": test.get(name) for name in ("loss", "accuracy")}
            known |= {**_outcome(steps[index]), **held_out}
        config = {key: hashable(value) for key, value in run.config.items()}
        rows.append({**known, **config, **known})  # `known` wins over keys of the configuration
    return pd.DataFrame(rows)


def _outcome(steps: pd.DataFrame) -> dict[str, float | None]:
    """Return the last and the best finite loss and accuracy; None if not measured."""
    out: dict[str, float | None] = {}
    for name, best in ("loss", np.min), ("accuracy", np.max):
        values, null = values_and_mask(steps, name)
        finite = values[np.isfinite(values)]
        out[f"final_{name}"] = float(values[~null][-1]) if not null.all() else None
        out[f"best_{name}"] = float(best(finite)) if len(finite) else None
    return out


def hashable(value: Any) -> Any:
    """Return a value of the configuration that `groupby` accepts; lists and dicts become JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _stack(runs: Sequence[Run], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    stacked = pd.concat(frames, keys=[run.name for run in runs], names=["run"])
    return stacked.reset_index(level="run").reset_index(drop=True)


def _open(name: str, file: Path) -> Run:
    info = _printable(read_json(file))
    if (version := _version(info)) != schema.VERSION:
        raise StoreError(
            f"{file} has schema {version!r:.40}, but this version of gradlab reads schema "
            f"{schema.VERSION}: repeat the run"
        )
    _raise_if(file, wrong_info(info))
    for columns, part in (LAYERS, "layers"), (STEPS, "steps"):
        path = file.parent / f"{part}.parquet"
        with _parquet(path, verify=False) as content:
            _raise_if(path, wrong_schema(content.schema_arrow, columns))
    return Run(printable(name), file.parent, info)


def _raise_if(path: Path, wrong: str | None) -> None:
    if wrong:
        raise StoreError(f"{path} is damaged: {wrong}")


@contextmanager
def _parquet(path: Path, verify: bool = True) -> Generator[pq.ParquetFile]:
    """Open a Parquet file, and name the file in errors.

    Args:
        path: The file.
        verify: Whether to read the whole file and verify its checksums.

    Yields:
        The file.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        with open_regular(path) as source:
            content: Any = source
            if verify:
                whole = source.read()
                if not is_intact(whole):
                    raise StoreError(f"{path} is damaged: its content does not match its checksum")
                content = pa.BufferReader(whole)
            with pq.ParquetFile(content, page_checksum_verification=verify) as file:
                yield file
    except FileNotFoundError:
        raise StoreError(f"{path} is missing") from None
    except (OSError, ValueError, OverflowError, MemoryError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {first_line(error)}") from error


def _read(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    with _parquet(path) as file:
        table = file.read(columns and list(columns), use_threads=False)
        for index, name in enumerate(table.column_names):
            if name in schema.names(schema.KEYS):
                _raise_if(path, _wrong_key(name, table[name]))
            if name == "module":
                table = table.set_column(index, name, _printable_names(table[name]))
        # without the metadata, by which pandas would rename columns or make an index of them
        return from_arrow(table.replace_schema_metadata(None))


def _wrong_key(name: str, values: pa.ChunkedArray) -> str | None:
    """Check a column that names steps, axes, positions or modules.

    Args:
        name: Name of the column.
        values: Its values.

    Returns:
        A text about a wrong value; None if all are valid.
    """
    if values.null_count:
        return f"expected {name} in every row, but it is null in {values.null_count}"
    if name == "axis":
        wrong = next(
            (each for each in values.unique().to_pylist() if each not in schema.AXES), None
        )
        return None if wrong is None else _wrong_choice(name, schema.AXES, wrong)
    if pa.types.is_integer(values.type) and len(values):
        least = int(values.to_numpy().min())
        return f"expected {name} of at least 0, but it is {least}" if least < 0 else None
    return None


def _wrong_choice(name: str, valid: tuple[str, ...], actual: Any) -> str:
    return f"expected {name} to be one of {', '.join(valid)}, but it is {actual!r:.40}"


def _printable_names(names: pa.ChunkedArray) -> Any:
    """Replace the control characters in a column of texts by their escapes."""
    if all(each.isprintable() for each in names.unique().to_pylist()):
        return names
    return pa.array([printable(each) for each in names.to_pylist()], names.type)


def _printable(value: Any) -> Any:
    """Replace the control characters in all texts of a JSON value by their escapes."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return value


def _version(info: Any) -> Any:
    return info.get("schema") if isinstance(info, dict) else None


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]


def wrong_schema(present: pa.Schema, columns: pa.Schema) -> str | None:
    """Compare the schema of a Parquet file with the expected columns.

    Args:
        present: Schema of the file.
        columns: Expected columns.

    Returns:
        A text about the first column that is missing or has another type; None if all match.
    """
    for expected in columns:
        index = present.get_field_index(expected.name)
        if index < 0:
            return f"it has no column {expected.name}"
        actual = present.field(index).type
        if actual != expected.type:
            return f"expected {expected.name} to be of type {expected.type}, but it is {actual}"
    return None
