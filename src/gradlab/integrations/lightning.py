"""A callback for Lightning.

from gradlab.integrations.lightning import Watch

watch = Watch(every=10)
trainer = lightning.Trainer(callbacks=[watch])
trainer.fit(module, loader)
watch.monitor.findings
"""

from typing import Any

from gradlab.integrations.callback import WatchCallback

try:
    from lightning.pytorch import Callback  # pyright: ignore
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ImportError("Lightning is not installed: pip install 'gradlab[lightning]'") from error


class LightningWatch(WatchCallback, Callback):  # pyright: ignore
    """Watches the module that a Lightning `Trainer` fits; arguments as in `gradlab.watch`.

    Example:
        >>> watch = LightningWatch(every=10)
        >>> watch.monitor is None  # until Trainer(callbacks=[watch]).fit(module)
        True
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching, after the sanity check of the validation."""
        self._start(trainer.model or pl_module)  # the wrapped model, as by DDP

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop watching."""
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop watching, and keep the record."""
        if self.monitor is not None:
            self.monitor.__exit__(type(exception), exception, None)


Watch = LightningWatch
