"""Logs the series of a run, charts of the gradient and a summary to Weights & Biases."""

import logging
import math
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import pyarrow as pa

from gradlab.errors import first_line
from gradlab.recording.rows import Rows
from gradlab.sinks.protocol import RunInfo
from gradlab.sinks.series import check_prefix, scalars

log = logging.getLogger(__name__)

PROFILES = 5  # number of recorded steps in a chart
OVER_DEPTH = "log10 of the norm of the error signal, by layer (1 = nearest the input)", "position"
OVER_TIME = "log10 of the norm of the gradient of the state or cell, by time step", "step"
"""Title of a chart, and label of its x axis."""


class WandB:
    """A sink that logs to a run of Weights & Biases.

    Without `project`, the sink logs to the current run of your script and leaves it open. It logs
    `loss`, `grad_norm`, `lr`, `step`, series of each layer, and in the summary `status`, `verdict`
    and others. If your script logs keys of the same names, such as `loss`, `lr`, `step` or
    `status`, one value replaces the other: use `prefix="gradlab/"`.

    The series of a step join the next row that your script logs. The series `step` has gradlab's
    number of the step. (If the sink logged separate rows, W&B's step counter would run ahead, and
    W&B would drop your `run.log(..., step=i)`.)

    Args:
        run: Your run; None for the current run, `wandb.run`.
        prefix: Text before the name of each series, such as "gradlab/".
        project: Project in which the sink starts a run and finishes it at the end; None to log to
            your run.
        entity: User or team of the new run; None for the default of the account.
        tags: Tags of the new run.
        mode: "offline" writes files, which `wandb sync` uploads later. "online" uploads the new run
            at once; without an account it falls back to "offline".

    Raises:
        SettingsError: A service would refuse the prefix.

    Example:
        >>> import tempfile, torch, gradlab, wandb
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> quiet = wandb.Settings(silent=True, console="off")
        >>> with wandb.init(mode="offline", dir=tempfile.mkdtemp(), settings=quiet) as run:
        ...     with gradlab.watch(model, optimizer, sinks=gradlab.sinks.WandB()):
        ...         for _ in range(3):
        ...             optimizer.zero_grad()
        ...             model(torch.ones(8, 4)).square().mean().backward()
        ...             optimizer.step()
        ...     print(run.summary["verdict"])
        too_early
    """

    def __init__(
        self,
        run: Any = None,
        *,
        prefix: str = "",
        project: str | None = None,
        entity: str | None = None,
        tags: Sequence[str] = (),
        mode: Literal["offline", "online"] = "offline",
    ) -> None:
        self.prefix = check_prefix(prefix)
        self._run = run
        self._project, self._entity, self._tags = project, entity, list(tags)
        self._mode: Literal["offline", "online"] = mode
        self._pending: int | None = None  # W&B's step of a row that may not be committed yet
        self._layers: list[pa.RecordBatch] = []

    def open(self, run: RunInfo) -> None:
        """Start a run, if the sink has a project."""
        if self._project is None:
            return
        if self._mode == "online" and not has_account():
            log.warning("W&B found no account: this run is logged offline (see wandb login)")
            self._mode = "offline"
        if self._mode == "online":
            try:
                self._run = self._start(run)
                return
            except Exception as error:
                log.warning(
                    "W&B cannot be reached: this run is logged offline: %s", first_line(error)
                )
                self._mode = "offline"
        self._run = self._start(run)

    def write(self, rows: Rows) -> None:
        """Log the series of each step."""
        if rows.layers is not None:
            self._layers.append(rows.layers)
        run = self._current()
        for step, values in scalars(rows, self.prefix):
            if self._project is not None:
                run.log(values, step=step)
                continue
            if self._pending == run.step:
                run.log({}, commit=True)
            self._pending = run.step
            run.log({**values, f"{self.prefix}step": step}, commit=False)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the charts and the summary; finish the run if the sink started it."""
        run = self._current()
        try:
            charts = profile_charts(self._layers)
            if charts:
                named = {f"{self.prefix}{name}": chart for name, chart in charts.items()}
                run.log(named, commit=self._project is not None)
            run.summary.update({f"{self.prefix}{key}": v for key, v in summary(result).items()})
        finally:
            if self._project is not None:
                run.finish()

    def _current(self) -> Any:
        import wandb

        run = self._run or wandb.run
        if run is None:
            raise RuntimeError("no W&B run is active: call wandb.init() first, or pass project=")
        return run

    def _start(self, run: RunInfo) -> Any:
        folder = run.folder or Path.cwd()
        set_directories(folder)
        import wandb

        return wandb.init(
            project=self._project,
            entity=self._entity,
            dir=str(folder),
            mode=self._mode,
            name=run.name[:128] if run.name else None,
            group=run.group,
            tags=self._tags,
            config=dict(run.config),
            settings=wandb.Settings(
                silent=True,
                reinit="create_new",  # other members of the stack have runs, too
                console="off",
                disable_git=True,
                disable_code=True,
                disable_job_creation=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                init_timeout=20,
                finish_timeout=60,
            ),
        )


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a result by which services compare runs."""
    findings = result.get("findings", ())
    values = {
        "status": result.get("status"),
        "verdict": result.get("verdict"),
        "learning": result.get("learning"),
        "slope": result.get("slope"),
        "findings": [finding["kind"] for finding in findings],
        "causes": [finding["cause"] for finding in findings],
    }
    test = result.get("test")
    return values | ({} if test is None else {f"test_{key}": value for key, value in test.items()})


def set_directories(folder: Path) -> None:
    """Set W&B's directories to a subfolder of `folder`, if the home directory is not writable.

    Otherwise W&B would fail, and its service would write its log to the terminal.
    """
    if not os.access(os.environ.get("HOME", os.environ.get("USERPROFILE", "")), os.W_OK):
        for kind in ("DATA", "CACHE", "CONFIG"):
            os.environ.setdefault(f"WANDB_{kind}_DIR", str(folder.resolve() / "wandb" / "home"))


def has_account() -> bool:
    """Return whether W&B can log in by environment variable or by netrc, without a prompt."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    file = os.environ.get("NETRC")
    for path in [file] if file else ["~/.netrc", "~/_netrc"]:
        try:
            if netrc.netrc(os.path.expanduser(path)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def profile_charts(records: Sequence[pa.RecordBatch]) -> dict[str, Any]:
    """Return W&B charts of the gradient over depth and, for a recurrent network, over time.

    Args:
        records: The layers of each recorded step. A chart has at most `PROFILES` of them.

    Returns:
        The charts, keyed by name.
    """
    if not records:
        return {}
    picked = sorted({round(i * (len(records) - 1) / (PROFILES - 1)) for i in range(PROFILES)})
    shown = [records[i] for i in picked]
    charts = {"gradient_profile": _chart(shown, "depth", "delta_norm", *OVER_DEPTH)}
    axes = shown[0]["axis"].to_pylist()
    if "time" in axes:
        axis = "cell" if "cell" in axes else "time"
        charts["gradient_through_time"] = _chart(shown, axis, "act_grad_norm", *OVER_TIME)
    return charts


def _chart(
    records: Sequence[pa.RecordBatch], axis: str, column: str, title: str, x_axis: str
) -> Any:
    """Return a chart of log10 of a column over an axis, with gaps at zero, inf and NaN.

    On the axes time and cell, the chart shows the last recurrent layer.

    Args:
        records: The layers of each step to show.
        axis: One of `schema.AXES`.
        column: Name of a column of `layers.parquet`.
        title: Title of the chart.
        x_axis: Label of the x axis.

    Returns:
        The chart.
    """
    import wandb

    keys = list(zip(records[0]["axis"].to_pylist(), records[0]["module"].to_pylist(), strict=True))
    rows = [row for row, key in enumerate(keys) if key[0] == axis]
    if axis != "depth":
        rows = [row for row in rows if keys[row] == keys[rows[-1]]]
    values = [record[column].take(rows).to_pylist() for record in records]
    return wandb.plot.line_series(
        xs=records[0]["position"].take(rows).to_pylist(),
        ys=[[_log10(value) for value in each] for each in values],
        keys=[f"step {record['step'][0]}" for record in records],
        title=title,
        xname=x_axis,
    )


def _log10(value: float | None) -> float | None:
    return math.log10(value) if value is not None and 0 < value < math.inf else None
