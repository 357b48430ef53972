"""A callback that records the training by a Trainer of Lightning.

from gradlab.integrations.lightning import Watch

watch = Watch(every=10)
trainer = lightning.Trainer(callbacks=[watch])
trainer.fit(module, loader)
print(watch.monitor.findings)
"""

from typing import Any

from gradlab.integrations.callback import WatchCallback

try:
    from lightning.pytorch import Callback  # pyright: ignore
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ImportError("Lightning is not installed: pip install pytorch-lightning") from error


class LightningWatch(WatchCallback, Callback):  # pyright: ignore
    """Watches the module that a Lightning `Trainer` fits; arguments as in `gradlab.watch`.

    Args:
        every: As in `gradlab.watch`.
        modules: As in `gradlab.watch`.
        sinks: As in `gradlab.watch`.

    Example:
        >>> watch = LightningWatch(every=10)
        >>> watch.monitor is None  # until Trainer(callbacks=[watch]).fit(module)
        True
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching, after Lightning's sanity check of the validation."""
        self._start(trainer.model or pl_module)  # with its wrapper, as for DDP

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop watching."""
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop watching; the record remains.

        Args:
            trainer: Not used.
            pl_module: Not used.
            exception: The exception that ended the training.
        """
        if self.monitor is not None:
            self.monitor.__exit__(type(exception), exception, None)


Watch = LightningWatch
