"""Writes the series of a run as event files for TensorBoard."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gradlab.errors import SettingsError
from gradlab.recording.rows import Rows
from gradlab.sinks.protocol import RunInfo
from gradlab.sinks.series import check_prefix, scalars


class TensorBoard:
    """A sink that logs to TensorBoard.

    Args:
        where: A folder, or your `SummaryWriter`, which stays open; None for the folder
            `tensorboard` in the run's folder.
        prefix: Text before the name of each series, such as "gradlab/".

    Raises:
        SettingsError: TensorBoard is not installed, or a service would refuse the prefix.

    Example:
        >>> import tempfile, torch, gradlab
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> sink = gradlab.sinks.TensorBoard(tempfile.mkdtemp())
        >>> with gradlab.watch(model, optimizer, sinks=sink):
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(8, 4)).square().mean().backward()
        ...         optimizer.step()
    """

    def __init__(self, where: Any = None, *, prefix: str = "") -> None:
        self.prefix = check_prefix(prefix)
        self._folder = Path(where) if isinstance(where, str | Path) else None
        self._writer: Any = where if self._folder is None else None
        self._owner = self._writer is None
        if self._owner and find_spec("tensorboard") is None:
            raise SettingsError("TensorBoard is not installed: pip install tensorboard")

    def open(self, run: RunInfo) -> None:
        """Create the writer, unless you passed one."""
        if not self._owner:
            return
        if self._folder is None and run.folder is None:
            raise SettingsError("this run has no folder: pass one, as in TensorBoard(folder)")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder or Path(run.folder or "") / "tensorboard"))

    def write(self, rows: Rows) -> None:
        """Log the series of each step."""
        for step, values in scalars(rows, self.prefix):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the verdict as text, and flush the writer."""
        self._writer.add_text(f"{self.prefix}verdict", str(result.get("verdict")))
        if self._owner:
            self._writer.close()
        else:
            self._writer.flush()
