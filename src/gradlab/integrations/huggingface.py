"""A callback that records the training by a Trainer of Hugging Face.

from gradlab.integrations.huggingface import Watch

watch = Watch(every=10)
trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[watch])
trainer.train()
print(watch.monitor.findings)
"""

from typing import Any

from gradlab.integrations.callback import WatchCallback

try:
    from transformers import TrainerCallback
    from transformers.training_args import ParallelMode
except ImportError as error:
    raise ImportError(
        "transformers is not installed: pip install transformers accelerate"
    ) from error


class TrainerWatch(WatchCallback, TrainerCallback):
    """Watches the model that a `transformers.Trainer` trains; arguments as in `gradlab.watch`.

    The Trainer does not notify callbacks of exceptions. After an exception, call `close()`, or use
    the same callback for the next training.

    Args:
        every: As in `gradlab.watch`.
        modules: As in `gradlab.watch`.
        sinks: As in `gradlab.watch`.

    Example:
        >>> watch = TrainerWatch(every=10)
        >>> watch.monitor is None  # until Trainer(..., callbacks=[watch]).train()
        True
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start watching.

        Args:
            args: The `TrainingArguments`. They give the number of processes, because `kwargs`
                contains the model without its `DistributedDataParallel` wrapper.
            state: Not used.
            control: Not used.
            kwargs: The model and other objects of the Trainer.
        """
        ranks = args.world_size if args.parallel_mode == ParallelMode.DISTRIBUTED else None
        self._start(kwargs["model"], ranks)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching.

        Args:
            args: Not used.
            state: Not used.
            control: Not used.
            kwargs: Not used.
        """
        self.close()


Watch = TrainerWatch
