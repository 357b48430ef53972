"""The notes of one training, and when not to take any."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gradlab.debugger.observe.gradient_fingerprints import Prints, prints
from gradlab.debugger.observe.source_lines import Place, here
from gradlab.debugger.observe.trace import Event

MOST = 50_000  # events: beyond them nothing is noted


class Log:
    """Events in order, the updates made so far, and the weights and optimisers met.

    While it is `quiet`, what runs is torch's own work, or ours, and is nobody's to note.
    """

    def __init__(self, known: Iterable[Optimizer]) -> None:
        self.events: list[Event] = []
        self.update = self.quiet = 0
        self.optimizers = {id(each): each for each in known}
        self.weights: dict[int, Tensor] = {}
        self.made: dict[int, Place] = {}  # where optimisers were made

    def tell(self, event: Event) -> None:
        """Take an event."""
        if len(self.events) < MOST:
            self.events.append(event)

    def now(self) -> dict[str, Any]:
        """Return the place and time that every event has."""
        return {"place": here(), "update": self.update}

    @contextmanager
    def hush(self) -> Generator[None]:
        """Take no notes inside."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    @property
    def held(self) -> set[int]:
        """Return the weights that an optimiser holds, by id."""
        groups = [group for each in self.optimizers.values() for group in each.param_groups]
        return {id(w) for group in groups for w in group["params"]}

    def prints(self) -> Prints:
        """Return the norms and sums of all gradients as they are."""
        for each in self.optimizers.values():
            for group in each.param_groups:
                self.weights |= {id(w): w for w in group["params"]}
        with self.hush():
            return prints(self.weights.values())

    def is_grad(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the gradient of a weight."""
        at = tensor.data_ptr()
        grads = (w.grad for w in self.weights.values() if w.grad is not None)
        return any(not grad.is_sparse and grad.data_ptr() == at for grad in grads)
