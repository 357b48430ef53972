"""The base class of the callbacks for Lightning and Hugging Face."""

from collections.abc import Sequence

from torch import nn

from gradlab.monitor.monitor import Monitor
from gradlab.monitor.step_tracker import schedule
from gradlab.monitor.watched_modules import Choice
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
        schedule(every)  # raises now instead of at the start of training
        self.monitor: Monitor | None = None
        self._every, self._modules, self._sinks = every, modules, sinks

    def _start(self, model: nn.Module, ranks: int | None = None) -> None:
        self.close()
        self.monitor = Monitor(
            model, every=self._every, modules=self._modules, sinks=self._sinks, ranks=ranks
        ).start()

    def close(self) -> None:
        """Stop watching. A second call has no effect."""
        if self.monitor is not None:
            self.monitor.stop()
