"""A callback for the Trainer of Hugging Face: `Trainer(callbacks=[Watch(every=10)])`."""

from typing import Any

from transformers import TrainerCallback
from transformers.training_args import ParallelMode

from gradlab.monitor.monitor import Lab


class Watch(TrainerCallback):
    """Watches the model while it is trained; `lab` is its record.

    The Trainer does not tell a callback of an exception: after one, call `close`.

    Args:
        options: of `gradlab.watch`, without the model and the optimiser.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.lab: Lab | None = None
        self._open = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin; the model is given without the wrapper that would tell of other processes."""
        ranks = args.world_size if args.parallel_mode == ParallelMode.DISTRIBUTED else None
        self.lab = Lab(kwargs["model"], **self.options, ranks=ranks)
        self.lab.__enter__()
        self._open = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """Stop watching, if it has not been stopped."""
        if self.lab is not None and self._open:
            self._open = False
            self.lab.__exit__(None, None, None)
