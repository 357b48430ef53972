"""W&B beside the files: scalars as they come, a profile at the end, a summary to compare runs by.

Training never waits for W&B and never ends because of it: its first failure is told in one warning,
and from then on the run goes without.
"""

import logging
import math
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import numpy as np

from gradlab.recording.rows import Columns, Rows, over_depth

log = logging.getLogger(__name__)

PER_LAYER = {
    "grad_norm": "weight_grad_norm",
    "delta_norm": "delta_norm",
    "act_factor": "act_factor",
    "weight_factor": "weight_factor",
    "saturated": "saturated",
    "dead": "dead",
    "update_ratio": "update_ratio",
}
"""Sections of the dashboard, and the column of `layers.parquet` that each shows."""
PROFILES = 5  # records drawn in the chart of the gradient over depth, or time
OVER_DEPTH = "log10 of the error signal's norm over depth (1 = nearest the input)", "position"
OVER_TIME = "log10 of the norm of the state's gradient over time (or its cell's)", "step"
"""A chart's title, and the name of what it counts."""


class Tracking:
    """A sink that writes one W&B run, in the folder of the run.

    Args:
        folder: where W&B keeps its files, under `wandb/`.
        name: of the run.
        group: of its sweep, if any.
        config: flat, as it is to be seen in W&B.
        mode: "offline" needs no account, no network; "online" falls back to it without an account.
        project: in W&B.
        entity: in W&B; None for the account's own.
        tags: in W&B.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        group: str | None,
        config: Mapping[str, Any],
        mode: str,
        project: str,
        entity: str | None,
        tags: Sequence[str],
    ) -> None:
        self._run: Any = None
        self._dead = False
        self._profiles: list[Columns] = []
        self._times: list[Columns] = []
        if mode == "online" and not has_account():
            log.warning("W&B has no account here: this run is tracked offline (see wandb login)")
            mode = "offline"

        def start(mode: Literal["online", "offline"]) -> None:
            settle(folder)
            import wandb

            self._run = wandb.init(
                dir=str(folder),
                mode=mode,
                project=project,
                entity=entity,
                name=name[:128],
                group=group,
                tags=list(tags),
                config=dict(config),
                settings=wandb.Settings(
                    silent=True,
                    reinit="create_new",  # beside those of the other members of a stack
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

        if mode == "online":
            try:
                start("online")
                return
            except Exception as error:
                log.warning("W&B cannot be reached, this run is tracked offline: %s", _told(error))
        self._attempt(lambda: start("offline"))

    def write(self, rows: Rows) -> None:
        """Log each step, and with it the layers, if they were recorded at it."""
        layers = None if rows.layers is None else over_depth(rows.layers)
        if layers is not None:
            self._profiles.append(layers)
        if rows.layers is not None and "time" in rows.layers["axis"]:
            self._times.append(over_time(rows.layers))

        def send() -> None:
            for index, step in enumerate(rows.steps["step"]):
                scalars = _step_scalars(rows.steps, index)
                if layers is not None and step == layers["step"][0]:
                    scalars |= _layer_scalars(layers)
                self._run.log(scalars, step=int(step))

        self._attempt(send)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Draw the profiles, leave the summary, and close the run."""

        def end() -> None:
            try:
                if self._profiles:
                    chart = profile_chart(self._profiles, "delta_norm", *OVER_DEPTH)
                    self._run.log({"gradient_profile": chart})
                if self._times:
                    chart = profile_chart(self._times, "act_grad_norm", *OVER_TIME)
                    self._run.log({"gradient_through_time": chart})
                self._run.summary.update(dict(summary))
            finally:
                self._run.finish()

        self._attempt(end)

    def _attempt(self, action: Callable[[], None]) -> None:
        if self._dead:
            return
        try:
            action()
        except Exception as error:  # whatever it is, the training is worth more
            self._dead = True
            log.warning("W&B failed, the run goes on without it: %s", _told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def settle(folder: Path) -> None:
    """Give W&B a place under `folder` for what it keeps at home, if there is no home to write to.

    Without one it fails, and its service writes its log to the terminal.
    """
    if not os.access(os.environ.get("HOME", os.environ.get("USERPROFILE", "")), os.W_OK):
        for kind in ("DATA", "CACHE", "CONFIG"):
            os.environ.setdefault(f"WANDB_{kind}_DIR", str(folder.resolve() / "wandb" / "home"))


def has_account() -> bool:
    """Say whether W&B could log in without asking: by environment variable or by netrc."""
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


def over_time(layers: Columns) -> Columns:
    """Return the rows of the state of the recurrent layer nearest the loss, by column."""
    axis = "cell" if "cell" in layers["axis"] else "time"
    state = [row for row, each in enumerate(layers["axis"]) if each == axis]
    state = [row for row in state if layers["module"][row] == layers["module"][state[-1]]]
    return {name: np.asarray(values)[state] for name, values in layers.items()}


def profile_chart(records: Sequence[Columns], column: str, title: str, counted: str) -> Any:
    """Return W&B's chart of log10 of a column by position, at a few steps from first to last.

    An exact zero or a non-finite norm leaves a gap.
    """
    import wandb

    picked = sorted({round(i * (len(records) - 1) / (PROFILES - 1)) for i in range(PROFILES)})
    shown = [records[i] for i in picked]
    return wandb.plot.line_series(
        xs=[int(p) for p in shown[0]["position"]],
        ys=[[_log10(float(v)) for v in record[column]] for record in shown],
        keys=[f"step {record['step'][0]}" for record in shown],
        title=title,
        xname=counted,
    )


def _log10(value: float) -> float | None:
    return math.log10(value) if 0 < value < math.inf else None


def _step_scalars(steps: Columns, index: int) -> dict[str, float]:
    names = {"grad_norm": "grad_norm/global"}
    return {
        names.get(column, column): float(values[index])
        for column, values in steps.items()
        if column not in ("step", "seconds") and values is not None
        if not (column == "descent" and math.isnan(values[index]))  # it was not measured
    }


def _layer_scalars(layers: Columns) -> dict[str, float]:
    digits = max(2, len(str(layers["position"][-1])))
    return {
        f"{section}/depth_{position:0{digits}d}": float(layers[column][row])
        for section, column in PER_LAYER.items()
        for row, position in enumerate(layers["position"])
    }
