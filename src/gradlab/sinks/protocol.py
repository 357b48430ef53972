"""Where the rows of a watched network go besides memory: Parquet, W&B, TensorBoard."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from gradlab.recording.rows import Rows
from gradlab.sinks.parquet import Parquet as Parquet
from gradlab.sinks.wandb import PER_LAYER

TOLD = ("loss", "grad_norm", "clip_factor", "lr")


class Sink(Protocol):
    """Takes rows as they come, and at the end what is known of the run."""

    def write(self, rows: Rows) -> None:
        """Take a recorded step and its layers."""
        ...

    def finish(self, info: Mapping[str, Any]) -> None:
        """Take status, verdict and findings, as in `run.json`."""
        ...


class WandB:
    """Logs to a run of W&B: the user's own, which goes on, or the one that is current.

    What is logged joins the row that the user logs next, and is a row of its own only if none comes
    before the next record: a row of ours at each step would put W&B's count ahead of a user's own
    `run.log(..., step=i)`, which W&B then drops. The step has its number as `gradlab/step`.
    """

    def __init__(self, run: Any = None) -> None:
        self._run = run
        self._open: int | None = None  # W&B's step, of which our row may not have been sent

    def write(self, rows: Rows) -> None:
        """Log the step's scalars, and those of each module."""
        run = self._current()
        scalars = {f"gradlab/{name}": value for name, value in scalars_of(rows)}
        if self._open == run.step:
            run.log({}, commit=True)
        self._open = run.step
        run.log({**scalars, "gradlab/step": int(rows.steps["step"][0])}, commit=False)

    def finish(self, info: Mapping[str, Any]) -> None:
        """Leave the verdict in the summary."""
        kinds = [finding["kind"] for finding in info["findings"]]
        self._current().summary.update(
            {"gradlab/verdict": info["verdict"], "gradlab/findings": kinds}
        )

    def _current(self) -> Any:
        import wandb

        run = self._run or wandb.run
        if run is None:
            raise RuntimeError("no W&B run is there: call wandb.init() first")
        return run


class TensorBoard:
    """Writes scalars for TensorBoard, with a writer of the user's or one for a folder."""

    def __init__(self, where: Any) -> None:
        self._own = isinstance(where, str | Path)
        if self._own:
            from torch.utils.tensorboard import SummaryWriter

            where = SummaryWriter(str(where))
        self._writer: Any = where

    def write(self, rows: Rows) -> None:
        """Add the step's scalars, and those of each module."""
        step = int(rows.steps["step"][0])
        for name, value in scalars_of(rows):
            self._writer.add_scalar(f"gradlab/{name}", value, step)

    def finish(self, info: Mapping[str, Any]) -> None:
        """Write all that is left, and the verdict in words."""
        self._writer.add_text("gradlab/verdict", str(info["verdict"]))
        self._writer.close() if self._own else self._writer.flush()


def scalars_of(rows: Rows) -> Iterator[tuple[str, float]]:
    """Return name and value of all that is a number: of the step, and of each module by depth."""
    layers = rows.layers or {"position": [], "module": []}
    digits = max(2, len(str(len(layers["position"]))))
    every = [(name, float(rows.steps[name][0])) for name in TOLD]
    for section, column in PER_LAYER.items():
        for row, position in enumerate(layers["position"]):
            name = f"{section}/{position:0{digits}d} {layers['module'][row]}"
            every.append((name, float(layers[column][row])))
    yield from ((name, value) for name, value in every if not math.isnan(value))
