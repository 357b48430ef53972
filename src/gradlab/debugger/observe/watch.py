"""The observation of a training: torch's functions, modules, backward passes and optimisers."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.debugger.observe.autograd_graph import Marks
from gradlab.debugger.observe.backward_passes import Passes
from gradlab.debugger.observe.event_log import Log
from gradlab.debugger.observe.module_calls import Calls, Change
from gradlab.debugger.observe.optimizer_steps import Steps
from gradlab.debugger.observe.parameter_names import roll
from gradlab.debugger.observe.torch_functions import Functions
from gradlab.debugger.observe.trace import Cut, Event, HandWritten, Trace
from gradlab.recording.patches import wrap

PASSES = 16  # backward passes for each update that is waited for


class Enough(BaseException):
    """Ends a user's training when enough was seen; no `except Exception` of theirs stops it."""


class Watch:
    """Takes notes of everything that happens inside it; a context manager, used once.

    It stops the training by `Enough` after so many updates, unless `most` is None.
    """

    def __init__(
        self, known: Iterable[Optimizer] = (), change: Change | None = None, most: int | None = None
    ) -> None:
        self.most, change = most, change or Change()
        self.log, self.marks = Log(known), Marks()
        self.calls = Calls(self.log, self.marks, change)
        self.passes = Passes(self.log, self.calls, self.marks)
        self.steps = Steps(self.log, change.lr, self._updated)
        self.trace = Trace(self.log.events)
        self._hooks = ExitStack()

    def __enter__(self) -> "Watch":
        for each in (
            self.calls.watched(),
            self.steps.watched(),
            wrap(nn.Module, "eval", self.calls.eval),
            wrap(torch.autograd, "backward", self._backward),
            wrap(torch.jit, "trace", self._untold),
            wrap(torch.autograd.Function, "apply", self._apply),
            Functions(self),
            torch.compiler.set_stance("force_eager"),  # a compiled step hides what it calls
        ):
            self._hooks.enter_context(each)
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        if self.most is None:
            self._settle()
        self.trace.updates = self.log.update
        self.trace.made = self.log.made
        self.trace.modules = [called for _, called in self.calls.called.values()]
        roots = [*self.calls.outermost.values()]
        self.trace.weights = roll(self.log.weights, roots, [*self.log.optimizers.values()])

    @property
    def is_over(self) -> bool:
        """Whether it has stopped the training, for enough was seen."""
        return self.most is not None and self.log.update >= self.most

    @property
    def updates(self) -> int:
        """How many updates were made."""
        return self.log.update

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.passes.backward(original, *args, **kwargs)
        if self.most is not None and self.passes.count > PASSES * self.most:
            raise Enough

    def _untold(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Take no notes of what runs only to be recorded: they would be recorded with it."""
        with self.log.hush():
            return original(*args, **kwargs)

    def _updated(self) -> None:
        if self.most is not None and self.log.update >= self.most:
            self._settle()  # here, where what the training holds is still held
            raise Enough

    def _settle(self) -> None:
        """See whose graphs are still held."""
        self.passes.forget()
        self.trace.alive = self.marks.alive()

    def _apply(self, original: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a `torch.autograd.Function`; take note of it unless it is torch's."""
        if not self.log.quiet and not function.__module__.startswith("torch."):
            with self.log.hush():
                kept = tuple(map(_copied, args))
                self.log.tell(HandWritten(**self.log.now(), function=function, args=kept))
        return original(function, *args, **kwargs)

    # What `Functions` asks for and tells.

    @property
    def quiet(self) -> int:
        """Whether what runs is not to be noted."""
        return self.log.quiet

    @property
    def update(self) -> int:
        """How many updates were made."""
        return self.log.update

    @property
    def in_network(self) -> bool:
        """Whether a module with parameters is running."""
        return self.calls.in_network

    def now(self) -> dict[str, Any]:
        """Return the place and time that every event has."""
        return self.log.now()

    def tell(self, event: Event) -> None:
        """Take an event."""
        self.log.tell(event)

    def used(self, weight: Tensor, fan_in: int) -> None:
        """Take the moment before a linear map uses a weight for the first time."""
        self.calls.used(weight, fan_in)

    def inside(self) -> tuple[int, str]:
        """Return the innermost module that is running, by id and class."""
        return self.calls.inside()

    def aliased(self, event: Cut, alias: Tensor) -> None:
        """Take a view of a tensor's values."""
        self.passes.aliased(event, alias)

    def lent(self, event: Cut, tensor: Tensor) -> None:
        """Take a tensor that becomes an array."""
        self.passes.lent.lend(event, tensor)

    def is_grad(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the gradient of a weight."""
        return self.log.is_grad(tensor)

    def clamped(self, name: str) -> Callable[[Any], None]:
        """Take the moment before a gradient is clamped."""
        return self.steps.clamped(name)


def _copied(given: Any) -> Any:
    """Return a copy of a tensor that asks for a gradient if it does; anything else as it is."""
    if not isinstance(given, Tensor):
        return given
    return given.detach().clone().requires_grad_(given.requires_grad)
