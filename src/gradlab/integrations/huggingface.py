"""A callback for the Trainer of Hugging Face.

from gradlab.integrations.huggingface import Watch

watch = Watch(every=10)
trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[watch])
trainer.train()
watch.monitor.findings
"""

from typing import Any

from gradlab.integrations.callback import WatchCallback

try:
    from transformers import TrainerCallback
    from transformers.training_args import ParallelMode
except ImportError as error:
    raise ImportError(
        "transformers is not installed: pip install 'gradlab[transformers]'"
    ) from error


class TrainerWatch(WatchCallback, TrainerCallback):
    """Watches the model that a `transformers.Trainer` trains; arguments as in `gradlab.watch`.

    The Trainer does not notify callbacks of an exception. After one, call `close()`, unless the
    same callback starts another training.

    Example:
        >>> watch = TrainerWatch(every=10)
        >>> watch.monitor is None  # until Trainer(..., callbacks=[watch]).train()
        True
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start watching; the given model lacks the wrapper that shows how many ranks there are."""
        ranks = args.world_size if args.parallel_mode == ParallelMode.DISTRIBUTED else None
        self._start(kwargs["model"], ranks)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching."""
        self.close()


Watch = TrainerWatch
