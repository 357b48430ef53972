"""The diagnosis of a run: all rules in order, for one run or for several seeds of one setting.

Each rule is a pure function of a record, and returns one finding at most. It compares layers with
each other, a step with an earlier one, or a number with what the dtype or the optimiser can hold:
a factor on the loss that the learning rate compensates changes nothing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from gradlab import schema
from gradlab.diagnosis.advice import advise
from gradlab.diagnosis.depth import exploding, vanishing
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.diagnosis.learning import learning_state, not_learning
from gradlab.diagnosis.nonfinite_steps import skipped
from gradlab.diagnosis.optimisation import below_eps, clipping, growing, starved, unstable
from gradlab.diagnosis.precision import no_gradient, overflow, underflow
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.spikes import spike
from gradlab.diagnosis.time import exploding_in_time, vanishing_in_time
from gradlab.diagnosis.units import dead, saturated, symmetric
from gradlab.errors import StoreError, nearest
from gradlab.results.context import ALONE, Context, context_of
from gradlab.results.load import Frames, load

Rule = Callable[[Record], Finding | None]

RULES: tuple[Rule, ...] = (
    overflow,
    skipped,
    no_gradient,
    symmetric,
    dead,
    exploding,
    vanishing,
    exploding_in_time,
    vanishing_in_time,
    underflow,
    saturated,
    unstable,
    growing,  # after its possible causes
    starved,
    below_eps,
    spike,
    clipping,
)
"""Most severe first: the first finding that is more than a note is the verdict."""
UNREAD = ("module", "bias_grad_norm", "grad_nonfinite")  # columns that a frame may lack
LAYERS = tuple(name for name in schema.names(schema.LAYERS) if name not in UNREAD)
SAME_SETTING = ("seed", "tracking", "diagnose", "train.check_gradients")
"""Keys, or beginnings of keys, in which seeds of one setting may differ."""
LEVEL = 0.9  # of the interval of a share of seeds
NAMED = 3  # keys in an error message


class Recorded(Protocol):
    """A `Monitor`."""

    @property
    def findings(self) -> Findings:
        """The findings so far: `diagnose` of the recorded frame."""
        ...


def diagnose(
    run: Recorded | Frames | str | Path | pd.DataFrame,
    steps: pd.DataFrame | None = None,
    config: Mapping[str, Any] | None = None,
) -> Findings:
    """Find the faults of a recorded run, such as vanishing gradients, with cause and remedies.

    `docs/diagnosis.md` lists the kinds of findings with their thresholds. `run.json` and
    `monitor.findings` hold the result of this function.

    A frame of `gradlab.load` or `Monitor.frame` has the steps and the configuration in its `attrs`,
    which survive `query` and boolean selection. A frame of `pandas.read_parquet` lacks them: pass
    them as arguments, or the rules that need them find nothing. Read such a frame with
    `dtype_backend="pyarrow"`. Otherwise pandas turns null (not measured) into NaN, and gradlab
    takes each NaN for "not measured".

    Several runs must differ only in their seed. Each finding then has a `confidence`: the share of
    the runs that show it.

    Args:
        run: A monitor, the folder of a run, a result of `gradlab.load`, or a frame of layers.
        steps: For a frame of layers: rows as in `steps.parquet`; default: from its `attrs`.
        config: For a frame of layers: the flat configuration as in `run.json`; default: from its
            `attrs`.

    Returns:
        The findings, a sequence in the order of `schema.KINDS`; empty without a fault.
        `.verdict` is "diverged", the kind of the first finding that is not a note, "too_early" or
        "healthy". `.learning` is one of `schema.LEARNING`, or None if the loss is unknown.

    Raises:
        StoreError: No rows, a missing column, a row that occurs twice, or runs of different
            settings.

    Example:
        >>> rows = {name: [0.5, 0.5] for name in LAYERS} | {"step": [0, 0], "axis": ["depth"] * 2}
        >>> rows |= {"position": [1, 2], "delta_norm": [1e-5, 1.0]}
        >>> diagnose(pd.DataFrame(rows)).verdict
        'vanishing'
    """
    if isinstance(run, str | Path):
        run = load(run)
    if isinstance(run, Frames):
        run = run.layers
    if not isinstance(run, pd.DataFrame):
        return run.findings
    context = context_of(run)
    runs = _by_run(run)
    steps = _steps(context, run) if steps is None else steps
    _check(run, steps, context)
    records = [Record(rows, _of(steps, name), _info(context, name, config)) for name, rows in runs]
    parts = [_one(record) for record in records]
    diverged = any(record.info.get("status") == "diverged" for record in records)
    states = [state for record in records if (state := learning_state(record)) is not None]
    learning = min(states, key=schema.LEARNING.index, default=None)
    return Findings(parts[0] if len(parts) == 1 else pool(parts), diverged, learning)


def pool(runs: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Return one finding of each kind that any of the runs shows, most severe first.

    It is the finding of the run with the median size. The order of the runs changes nothing.

    Args:
        runs: The findings of each run.

    Returns:
        Findings with the share of the runs as `confidence`, and the Jeffreys interval (90%) of the
        share of seeds that would show it in the evidence.
    """
    out: list[Finding] = []
    for kind, axis in product(schema.KINDS, ("depth", "time")):
        shown = [next((f for f in run if (f.kind, f.axis) == (kind, axis)), None) for run in runs]
        found = sorted((f for f in shown if f is not None), key=_size)
        if not found:
            continue
        share = len(found) / len(runs)
        low, high = interval(len(found), len(runs))
        typical = found[(len(found) - 1) // 2]
        evidence = {**typical.evidence, "seeds": float(len(runs)), "low": low, "high": high}
        out.append(replace(typical, evidence=evidence, confidence=share))
    return out


def interval(shown: int, runs: int) -> tuple[float, float]:
    """Return the Jeffreys interval (90%) of a share (Brown, Cai & DasGupta 2001, section 3.1)."""
    from scipy.special import betaincinv  # imported here because one run does not need it

    tail = (1 - LEVEL) / 2
    a, b = shown + 0.5, runs - shown + 0.5
    low, high = (float(betaincinv(a, b, q)) for q in (tail, 1 - tail))
    return (0.0 if shown == 0 else low), (1.0 if shown == runs else high)


def _one(record: Record) -> list[Finding]:
    rules = RULES if len(record.depth.steps) else RULES[:2]  # others need an error signal
    with np.errstate(all="ignore"):  # the rules are about inf, NaN and 0/0
        found = [finding for rule in rules if (finding := rule(record)) is not None]
        if all(finding.severity == "note" for finding in found):  # otherwise it is an effect
            found = [finding for finding in (not_learning(record), *found) if finding is not None]
    return _linked([_finished(record, finding) for finding in found])


def _linked(findings: list[Finding]) -> list[Finding]:
    """Name in each overflow the findings that follow from it: skipped steps."""
    follow = tuple(f.kind for f in findings if f.kind == "skipped")
    return [replace(f, cause_of=follow) if f.kind == "overflow" else f for f in findings]


def _finished(record: Record, finding: Finding) -> Finding:
    """Remove undefined evidence and remedies that the run already has."""
    evidence = {key: value for key, value in finding.evidence.items() if math.isfinite(value)}
    remedies = advise(finding.remedies, record.config, record.watched)
    return replace(finding, evidence=evidence, remedies=remedies)


def _size(finding: Finding) -> tuple[object, ...]:
    """Order findings of one kind by their evidence, then by the rest."""
    return (*(abs(v) for v in finding.evidence.values()), finding.since, finding.cause)


def _by_run(layers: pd.DataFrame) -> list[tuple[str | None, pd.DataFrame]]:
    """Return each run and its rows; all rows under None, if no column names the run."""
    named = "run" in layers and layers["run"].notna().any()
    if not named:
        return [(None, layers)]
    return [(str(name), rows) for name, rows in layers.groupby("run", sort=True)]


def _of(steps: pd.DataFrame, run: str | None) -> pd.DataFrame:
    """Return the steps of a run."""
    return steps[steps["run"] == run] if run is not None and "run" in steps else steps


def _steps(context: Context, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the steps in a context; none if the run of the layers is unknown."""
    unknown = context.steps is None or ("run" not in layers and len(context) > 1)
    return pd.DataFrame({"step": []}) if unknown or context.steps is None else context.steps


def _info(context: Context, run: str | None, config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the entries of `run.json` of a run.

    Args:
        context: The entries of all runs.
        run: Name of the run; None for a frame of one run.
        config: The configuration to use in place of the recorded one.

    Returns:
        The entries; empty if unknown.
    """
    alone = next(iter(context.values())) if len(context) == 1 else {}
    info = context.get(ALONE if run is None else run, alone)
    return info if config is None else {**info, "config": config}


def _check(layers: pd.DataFrame, steps: pd.DataFrame, context: Context) -> None:
    """Refuse frames that cannot be diagnosed.

    Args:
        layers: Rows as in `layers.parquet`.
        steps: Rows as in `steps.parquet`.
        context: The entries of `run.json`.

    Raises:
        StoreError: A column or all rows are missing, a row occurs twice, or settings differ.
    """
    several = "run" in layers and layers["run"].nunique() > 1
    _check_columns("layers", layers, LAYERS)
    alone = next(iter(context.values())) if len(context) == 1 else {}
    if layers.empty and not alone.get("nonfinite"):
        raise StoreError(f"expected recorded rows, given an empty frame{_hint(context)}")
    if len(steps):
        _check_columns("steps", steps, ("step", "run") if several else ("step",))
    _check_unique("layers", layers, ("run", "step", "axis", "position", "module"))
    _check_unique("steps", steps, ("run", "step"))
    if several:
        _check_settings(layers, context)
        _check_sizes(layers)


def _hint(context: Context) -> str:
    """Suggest how to select a run that exists."""
    names = [name for name in context if name != ALONE]
    if not names:
        return "; run ids are text: layers.query(\"run == '0'\")"
    return f"; run ids are text, for example: {_query(names[0])}"


def _query(run: str) -> str:
    return f"layers.query(\"run == '{run}'\")"


def _check_columns(name: str, frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse a frame that lacks a column.

    Args:
        name: Name of the frame in the message.
        frame: The rows.
        columns: Names of the columns.
    """
    given = [str(column) for column in frame]
    for column in columns:
        if column not in given:
            hint = nearest(column, given) if given else "it has none"
            raise StoreError(f"expected a column {column} in {name}, but it is not there; {hint}")


def _check_unique(name: str, frame: pd.DataFrame, keys: Iterable[str]) -> None:
    """Refuse several runs without their names: one would overwrite the other.

    Args:
        name: Name of the frame in the message.
        frame: The rows.
        keys: Columns that identify a row.
    """
    keys = [key for key in keys if key in frame]
    twice = frame.loc[frame.duplicated(keys).to_numpy(), keys] if keys else frame.iloc[:0]
    if len(twice):
        row = ", ".join(f"{key}={twice[key].iloc[0]}" for key in keys)
        raise StoreError(
            f"expected one row in {name} for {row}, given more; if they are of several runs, a "
            "column run must name each"
        )


def _check_settings(layers: pd.DataFrame, context: Context) -> None:
    """Refuse runs whose configurations differ in more than the seed."""
    runs = [str(run) for run in layers["run"].unique()]
    configs = [context[run].get("config") or {} for run in runs if run in context]
    keys = dict.fromkeys(key for config in configs for key in config)
    differ = [
        key
        for key in keys
        if not key.startswith(SAME_SETTING)
        and any(config.get(key) != configs[0].get(key) for config in configs)
    ]
    if differ:
        more = ", …" if len(differ) > NAMED else ""
        raise StoreError(
            f"expected one run, or seeds of one setting, given {len(runs)} runs that differ in "
            f"{', '.join(differ[:NAMED])}{more}; choose one: {_query(runs[0])}"
        )


def _check_sizes(layers: pd.DataFrame) -> None:
    """Refuse runs that cannot be seeds of one setting: their weights differ in number."""
    depth = layers[layers["axis"] == "depth"]
    depths = depth.groupby("run")["position"].max()
    sizes = depth.groupby("position")["weight_count"].nunique()
    if depths.nunique() > 1 or (sizes > 1).any():
        first = str(layers["run"].iloc[0])
        raise StoreError(
            "expected several seeds of one setting, given networks of different size; "
            f"choose one: {_query(first)}"
        )
