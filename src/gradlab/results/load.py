"""Reads every run under a folder; leaves out damaged runs and names them."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab import schema
from gradlab.errors import StoreError
from gradlab.pages.numbers import cell, count
from gradlab.pages.page import PageTable, notebook_html, table_lines
from gradlab.recording.rows import LAYERS, STEPS
from gradlab.results.context import attach
from gradlab.results.nullable import from_arrow, values_and_mask

FINDING: dict[str, type] = {
    "kind": str,
    "where": list,
    "since": int,
    "severity": str,
    "cause": str,
    "evidence": dict,
    "remedies": list,
}
"""The keys of a finding in `run.json`, as in `diagnosis.finding.Finding`, with their types."""
OPTIONAL: dict[str, type] = {
    "test": dict,
    "first_nonfinite": dict,
    "error": str,
    "seed": int,
    "data": dict,
    "nonfinite": dict,
}
NONFINITE: dict[str, type] = {"where": str, "step": int}
MOST_SHOWN = 20  # runs in the printed and the notebook output of `load`
KEYS = ("status", "verdict", "config_hash", "seed")
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
        differ = [name for name in self.runs if self.runs[name].nunique(dropna=False) > 1]
        names = list(dict.fromkeys([*fixed, *(n for n in differ if n != "config_hash")]))
        rows = [list(map(cell, row)) for row in self.runs[names].head(MOST_SHOWN).to_numpy()]
        if len(self.runs) > MOST_SHOWN:
            rows.append(["…", *[""] * (len(names) - 1)])
        return PageTable([str(name) for name in names], rows)


def find(folder: str | Path) -> Found:
    """Find every run under `folder`, in natural order (2 before 10).

    This reads `run.json` and the footers of the Parquet files.

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
    files = sorted(root.rglob("run.json"), key=_natural)
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
        except (OSError, ValueError, pa.ArrowException) as error:
            damaged.append(str(error).splitlines()[0])
    if not runs:
        raise unreadable(folder, damaged)
    return Found(runs, damaged)


def load(folder: str | Path) -> Frames:
    """Load every run under a folder as pandas frames: `.runs`, `.steps`, `.layers`.

    `runs` has a row for each run: name, status, verdict, seed, final and best training loss and
    accuracy, test loss and accuracy, and every key of the configuration. A list in the
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
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if (version := _version(info)) != schema.VERSION:
        raise ValueError(
            f"{file} has schema {version}, but this version of gradlab reads schema "
            f"{schema.VERSION}: repeat the run"
        )
    _raise_if(file, wrong_info(info))
    for columns, part in (LAYERS, "layers"), (STEPS, "steps"):
        path = file.parent / f"{part}.parquet"
        try:
            present = pq.read_schema(path)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing") from None
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
        _raise_if(path, wrong_schema(present, columns))
    return Run(name, file.parent, info)


def _raise_if(path: Path, wrong: str | None) -> None:
    if wrong:
        raise ValueError(f"{path} is damaged: {wrong}")


def _read(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:  # a third of the time that read_table takes
            table = file.read(columns and list(columns), use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    return from_arrow(table)


def _version(info: Any) -> Any:
    return info.get("schema") if isinstance(info, dict) else None


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]


def wrong_info(info: Any) -> str | None:
    """Check the content of a `run.json` for the keys and types that other code relies on.

    Args:
        info: Content of a `run.json` of this schema.

    Returns:
        A text with the expected and the actual value; None if the content is valid.
    """
    if not isinstance(info.get("config"), dict):
        return f"expected a configuration as config, but it is {info.get('config')!r:.40}"
    if info.get("status") not in schema.STATUSES:
        return _wrong_choice("status", schema.STATUSES, info.get("status"))
    if info.get("verdict") not in (None, *schema.VERDICTS):
        return _wrong_choice("verdict", schema.VERDICTS, info.get("verdict"))
    for key, kind in OPTIONAL.items():
        if info.get(key) is not None and not isinstance(info[key], kind):
            return f"expected {key} to be of type {kind.__name__}, but it is {info[key]!r:.40}"
    where = info.get("first_nonfinite")
    wrong = _wrong_type("first_nonfinite", where, NONFINITE) if where else None
    return wrong or _wrong_findings(info.get("findings"))


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


def _wrong_findings(findings: Any) -> str | None:
    if not isinstance(findings, list):
        return f"expected a list of findings, but it is {findings!r:.40}"
    for finding in findings:
        wrong = _wrong_type("a finding", finding, FINDING)
        if wrong:
            return wrong
        if finding["kind"] not in schema.KINDS:
            return _wrong_choice("the kind of a finding", schema.KINDS, finding["kind"])
    return None


def _wrong_type(name: str, content: Any, types: dict[str, type]) -> str | None:
    """Check the types of the values in a dictionary.

    Args:
        name: Name of the dictionary, for the text.
        content: The dictionary, or a value of a wrong type.
        types: Expected type of each key.

    Returns:
        A text about the first wrong value; None if all types match.
    """
    if not isinstance(content, dict):
        return f"expected {name} to be of type dict, but it is {content!r:.40}"
    for key, kind in types.items():
        if not isinstance(content.get(key), kind):
            actual = f"{content[key]!r:.40}" if key in content else "missing"
            return f"expected {key} of {name} to be of type {kind.__name__}, but it is {actual}"
    return None


def _wrong_choice(name: str, valid: tuple[str, ...], actual: Any) -> str:
    """Describe a value that is not one of the valid ones.

    Args:
        name: Name of the value.
        valid: Valid values.
        actual: The value.

    Returns:
        The text.
    """
    return f"expected {name} to be one of {', '.join(valid)}, but it is {actual!r:.40}"
