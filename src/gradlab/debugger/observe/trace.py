"""The trace of a training: its events in order, its weights and its modules."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.debugger.observe.events import BackwardPass, Event, OptimizerStep, TrainingError
from gradlab.debugger.observe.fingerprints import Fingerprints, fingerprints, is_cleared
from gradlab.debugger.observe.source_lines import SourceLine, current_line

MAX_EVENTS = 50_000  # later events are dropped

E = TypeVar("E", bound=Event)


class EventLog:
    """Records events in order, counts optimiser steps, and collects weights and optimisers.

    While torch or gradlab runs, `paused` is above 0, and recorders add no events.

    Args:
        known: existing optimisers.
    """

    def __init__(self, known: Iterable[Optimizer]) -> None:
        self.events: list[Event] = []
        self.step = self.paused = 0
        self.optimizers = {id(each): each for each in known}
        self.weights: dict[int, Tensor] = {}
        self.optimizer_lines: dict[int, SourceLine] = {}  # the lines that made them

    def add(self, event: Event) -> None:
        """Append an event."""
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)

    def now(self) -> dict[str, Any]:
        """Return the current line and step, which every event has."""
        return {"line": current_line(), "step": self.step}

    @contextmanager
    def pause(self) -> Generator[None]:
        """Record no events inside."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    @property
    def optimizer_weights(self) -> set[int]:
        """The `id`s of the weights of all optimisers."""
        groups = [group for each in self.optimizers.values() for group in each.param_groups]
        return {id(w) for group in groups for w in group["params"]}

    def fingerprints(self) -> Fingerprints:
        """Return the norms and sums of all current gradients."""
        for each in self.optimizers.values():
            for group in each.param_groups:
                self.weights |= {id(w): w for w in group["params"]}
        with self.pause():
            return fingerprints(self.weights.values())

    def is_grad(self, tensor: Tensor) -> bool:
        """Return whether a tensor is the gradient of a weight."""
        at = tensor.data_ptr()
        grads = (w.grad for w in self.weights.values() if w.grad is not None)
        return any(not grad.is_sparse and grad.data_ptr() == at for grad in grads)


@dataclass
class TrackedWeight:
    """A weight of a model or an optimiser.

    Attributes:
        name: its name in the model.
        shape: its shape.
        trainable: its `requires_grad`.
        registered: whether it is a parameter of a module that the user called.
        holder: the attribute that contains an unregistered weight, such as `Net.hidden (list)`.
        optimizers: the `id`s of the optimisers that hold it.
        in_eval: whether its module is in evaluation mode inside a model in training mode.
    """

    name: str
    shape: tuple[int, ...]
    trainable: bool
    registered: bool
    holder: str = ""
    optimizers: frozenset[int] = frozenset()
    in_eval: bool = False


@dataclass
class CalledModule:
    """A called module.

    Attributes:
        kind: its class.
        line: the line of its first call.
        weights: the `id`s of its direct parameters, without its children.
        mode_matters: whether it behaves differently in evaluation mode.
        is_layer: whether it is a module of torch other than an embedding.
        grad_modes: the values of `torch.is_grad_enabled()` at its calls.
    """

    kind: str
    line: SourceLine
    weights: frozenset[int]
    mode_matters: bool
    is_layer: bool = False
    grad_modes: set[bool] = field(default_factory=set[bool])


@dataclass
class Trace:
    """The observations of one training.

    Attributes:
        events: the events in order.
        weights: the weights by `id`, in the model's order.
        modules: the called modules.
        optimizer_lines: the lines that made the optimisers, by `id`.
        live_graphs: the steps whose graphs are in memory at the end, with their lines.
        steps: the number of optimiser steps.
    """

    events: list[Event] = field(default_factory=list[Event])
    weights: dict[int, TrackedWeight] = field(default_factory=dict[int, TrackedWeight])
    modules: list[CalledModule] = field(default_factory=list[CalledModule])
    optimizer_lines: dict[int, SourceLine] = field(default_factory=dict[int, SourceLine])
    live_graphs: dict[int, SourceLine] = field(default_factory=dict[int, SourceLine])
    steps: int = 0

    def all(self, kind: type[E]) -> Sequence[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def error(self) -> TrainingError | None:
        """The error that ended the training, None if it ended without an error."""
        return next(iter(self.all(TrainingError)), None)

    @property
    def losses(self) -> list[float]:
        """The loss of each step: the sum over its backward passes."""
        sums: dict[int, float] = {}
        for event in self.all(BackwardPass):
            sums[event.step] = sums.get(event.step, 0.0) + event.value
        return [*sums.values()]

    @property
    def reached(self) -> set[int]:
        """The weights that get a gradient, by a backward pass or by the user's code."""
        steps = self.all(OptimizerStep)
        by_hand = {w for s in steps for w in s.weights if not is_cleared(s.before, w)}
        return by_hand.union(*(each.reaches for each in self.all(BackwardPass)))

    @property
    def moved_by_hand(self) -> set[int]:
        """The weights that change without an optimiser, such as moving averages."""
        seen: dict[int, set[float]] = {}
        for step in self.all(OptimizerStep):
            for w, value in step.idle.items():
                seen.setdefault(w, set()).add(value)
        return {w for w, values in seen.items() if len(values) > 1}

    def names(self, ids: Sequence[int] | frozenset[int] | set[int], most: int = 4) -> str:
        """Return the names of weights, in the model's order."""
        found = [w.name for key, w in self.weights.items() if key in ids]
        more = f" and {len(found) - most} more" if len(found) > most else ""
        return ", ".join(found[:most]) + more


def tracked_weights(
    seen: Mapping[int, Tensor], roots: Sequence[nn.Module], optimizers: Sequence[Optimizer]
) -> dict[int, TrackedWeight]:
    """Return all weights of modules and optimisers.

    Args:
        seen: the weights in events, by `id`.
        roots: the modules that the user called.
        optimizers: all optimisers.

    Returns:
        The weights by `id`, the weights of modules first.
    """
    optimizers_of: dict[int, set[int]] = {}
    for each in optimizers:
        for group in each.param_groups:
            for w in group["params"]:
                optimizers_of.setdefault(id(w), set()).add(id(each))
    found: dict[int, TrackedWeight] = {}
    tensors = dict(seen)
    for name, w, in_eval in _registered(roots):
        tensors[id(w)] = w
        if id(w) not in found:
            shape = tuple(w.shape)
            found[id(w)] = TrackedWeight(name, shape, w.requires_grad, True, in_eval=in_eval)
    holders: dict[int, tuple[str, str]] = {}
    for name, w, holder in (each for root in roots for each in _hidden(root)):
        holders[id(w)] = name, holder
        tensors[id(w)] = w
    for key, w in tensors.items():
        if key not in found:
            name, holder = holders.get(key, (f"a weight of shape {list(w.shape)}", ""))
            found[key] = TrackedWeight(name, tuple(w.shape), w.requires_grad, False, holder)
    for key, weight in found.items():
        weight.optimizers = frozenset(optimizers_of.get(key, ()))
    return found


def _registered(roots: Sequence[nn.Module]) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield (name, parameter, is in evaluation mode) for parameters of the outermost modules."""
    inside = {id(part) for root in roots for part in root.modules() if part is not root}
    tops = [root for root in roots if id(root) not in inside]
    for root in tops:
        label = f"{type(root).__name__}." if len(tops) > 1 else ""
        for path, part in root.named_modules():
            for name, w in part.named_parameters(recurse=False):
                in_eval = not part.training and root.training
                yield f"{label}{path}.{name}" if path else f"{label}{name}", w, in_eval


def _hidden(root: nn.Module) -> Iterator[tuple[str, Tensor, str]]:
    """Yield (name, weight, holder) for unregistered weights in lists, dicts or attributes."""
    for path, part in root.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_") and attribute in _MODULE_ATTRIBUTES:
                continue
            name = f"{path}.{attribute}" if path else attribute
            holder = f"{type(part).__name__}.{attribute} ({type(value).__name__})"
            for label, w in _weights_in(value):
                yield f"{name}{label}", w, holder


def _weights_in(value: Any, depth: int = 3) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, nn.Module):
        yield from ((f".{name}", w) for name, w in value.named_parameters())
    elif isinstance(value, Tensor):
        if value.is_leaf and value.requires_grad:
            yield "", value
    elif depth and isinstance(value, list | tuple | set):
        for i, each in enumerate(value):
            yield from ((f"[{i}]{label}", w) for label, w in _weights_in(each, depth - 1))
    elif depth and isinstance(value, dict):
        for key, each in value.items():
            yield from ((f"[{key!r}]{label}", w) for label, w in _weights_in(each, depth - 1))


_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
