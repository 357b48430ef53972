"""A callback for Lightning: `Trainer(callbacks=[Watch(every=10)])`, then `callback.lab`."""

from typing import Any

from gradlab.monitor.monitor import Lab
from gradlab.monitor.watch import watch

try:
    from lightning.pytorch import Callback  # pyright: ignore
except ImportError:
    from pytorch_lightning import Callback


class Watch(Callback):  # pyright: ignore
    """Watches the module while it is fitted.

    Args:
        options: of `gradlab.watch`, without the model and the optimiser.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.lab: Lab | None = None
        self._open = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, after the sanity check of the validation."""
        self.lab = watch(trainer.model or pl_module, **self.options)  # wrapped, as by DDP
        self.lab.__enter__()
        self._open = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End it."""
        self._close(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End it, and keep what was recorded."""
        self._close(exception)

    def _close(self, error: BaseException | None) -> None:
        if self.lab is not None and self._open:
            self._open = False
            self.lab.__exit__(error and type(error), error, None)
