"""Modules as they are called: which, in which mode, and with what."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._pytree import tree_leaves

from gradlab.debugger.observe.autograd_graph import Marks
from gradlab.debugger.observe.event_log import Log
from gradlab.debugger.observe.source_lines import Place, here
from gradlab.debugger.observe.trace import Called, Fed

MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Change:
    """What is done differently in an experiment.

    Attributes:
        lr: the factor of all learning rates.
        standardised: whether inputs get zero mean and unit variance on the way into the model.
        gain: the most that rms(W) sqrt(fan_in) may be at the first step; larger weights shrink.
    """

    lr: float = 1.0
    standardised: bool = False
    gain: float | None = None


class Calls:
    """Watches the calls of all modules."""

    def __init__(self, log: Log, marks: Marks, change: Change) -> None:
        self.log, self.marks, self.change = log, marks, change
        self.stack: list[nn.Module] = []
        self.outermost: dict[int, nn.Module] = {}
        self.called: dict[int, tuple[nn.Module, Called]] = {}
        self.slept: Place | None = None
        self.awake: dict[int, bool] = {}  # called with gradients since the last backward pass

    @contextmanager
    def watched(self) -> Generator[None]:
        """Watch all modules that are called inside."""
        handles = (
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def inside(self) -> tuple[int, str]:
        """Return the innermost module that is running, by id and class."""
        module = self.stack[-1] if self.stack else None
        return id(module), type(module).__name__ if module is not None else ""

    @property
    def in_network(self) -> bool:
        """Whether a module with parameters is running."""
        return bool(self.stack) and any(True for _ in self.stack[0].parameters())

    def asleep(self, reaches: frozenset[int]) -> tuple[str, ...]:
        """Return the modules that behave otherwise in evaluation, if all that learn are in it.

        `reaches` are the weights that learn.
        """
        awake, self.awake = self.awake, {}
        called = [(self.called[key][1], up) for key, up in awake.items()]
        concerned = [(c, up) for c, up in called if c.mode_matters or c.weights & reaches]
        if any(up for _, up in concerned) or not any(c.weights & reaches for c, _ in concerned):
            return ()
        return tuple(c.kind for c, _ in concerned if c.mode_matters)

    def eval(self, original: Callable[..., Any], module: nn.Module) -> nn.Module:
        """Put a module into evaluation mode, and note where."""
        self.slept = here()
        return original(module)

    def used(self, weight: Tensor, fan_in: int) -> None:
        """Shrink a weight that is about to be used, if that is tried."""
        if self.log.update == 0 and self.change.gain is not None:
            with self.log.hush():
                _shrink(weight, fan_in, self.change.gain)

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if self.log.quiet:
            return None
        outer = not self.stack and any(True for _ in module.parameters())
        self.stack.append(module)
        with self.log.hush():
            place = here()
            self._note(module, place)
            if not outer:
                return None
            self.outermost.setdefault(id(module), module)
            if self.change.gain is not None:
                for w in module.parameters():
                    if w.ndim >= 2:
                        self.used(w, w[0].numel())
            return self._feed(args, place)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.stack and self.stack[-1] is module:
            self.stack.pop()
            if not self.stack and not self.log.quiet:
                self.marks.put(self.log.update, here(), *tree_leaves(output))

    def _note(self, module: nn.Module, place: Place) -> None:
        if id(module) not in self.called:
            kind = type(module)
            called = Called(
                kind=kind.__name__,
                place=place,
                weights=frozenset(id(w) for w in module.parameters(recurse=False)),
                mode_matters=isinstance(module, MODAL) and getattr(module, "p", 1) > 0,
                layer=kind.__module__.startswith("torch.nn.") and kind is not nn.Embedding,
            )
            self.called[id(module)] = module, called
        self.called[id(module)][1].grad.add(torch.is_grad_enabled())
        if torch.is_grad_enabled():
            self.awake[id(module)] = self.awake.get(id(module), False) or module.training

    def _feed(self, args: tuple[Any, ...], place: Place) -> tuple[Any, ...] | None:
        """Note the inputs of an outermost module; return them standardised, if that is tried."""
        given = [*args]
        for i, x in enumerate(args):
            if not isinstance(x, Tensor) or not x.is_floating_point() or x.requires_grad:
                continue
            if x.ndim < 2 or len(x) < 2 or x.layout != torch.strided or x.is_nested:
                continue
            rms = float(x.double().square().mean().sqrt())
            self.log.tell(Fed(place=place, update=self.log.update, rms=rms))
            if self.change.standardised:
                given[i] = _standardised(x)
        return tuple(given) if self.change.standardised else None


def _standardised(x: Tensor) -> Tensor:
    """Return x with zero mean and unit variance: per feature of a matrix, else over all of it."""
    over = 0 if x.ndim == 2 else tuple(range(x.ndim))
    mean, std = x.mean(over, keepdim=True), x.std(over, keepdim=True)
    return torch.where(std > 0, (x - mean) / std.clamp(min=1e-12), torch.zeros_like(x))


def _shrink(weight: Tensor, fan_in: int, most: float) -> None:
    with torch.no_grad():
        gain = float(weight.double().square().mean().sqrt()) * fan_in**0.5
        weight.mul_(min(1.0, most / gain) if gain else 1.0)
