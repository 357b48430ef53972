"""The part of a callback that does not depend on the training library."""

from collections.abc import Sequence

from torch import nn

from gradlab.monitor.attach import Choice
from gradlab.monitor.monitor import Monitor
from gradlab.monitor.steps import schedule
from gradlab.sinks.protocol import Sink


class WatchCallback:
    """Watches the model that a trainer trains.

    Args:
        every: As in `gradlab.watch`.
        modules: As in `gradlab.watch`.
        sinks: As in `gradlab.watch`.

    Attributes:
        monitor: The monitor of the last training; None before the first.

    Raises:
        WatchError: `every` is invalid.
    """

    def __init__(
        self,
        *,
        every: int | str = 1,
        modules: Choice | Sequence[Choice] | None = None,
        sinks: Sink | Sequence[Sink] = (),
    ) -> None:
        schedule(every)  # raises an error now, and not when training starts
        self.monitor: Monitor | None = None
        self._every, self._modules, self._sinks = every, modules, sinks

    def _start(self, model: nn.Module, ranks: int | None = None) -> None:
        self.close()
        self.monitor = Monitor(
            model, every=self._every, modules=self._modules, sinks=self._sinks, ranks=ranks
        ).start()

    def close(self) -> None:
        """Stop watching; without effect if the monitor is stopped."""
        if self.monitor is not None:
            self.monitor.stop()
