"""The observation of a training: torch's functions, modules, backward passes and optimisers."""

import gc
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim import optimizer as optimizers
from torch.utils._pytree import tree_leaves

from gradlab.examination import graph
from gradlab.examination.functions import Functions
from gradlab.examination.gradients import Prints, prints
from gradlab.examination.place import Place, here, trail
from gradlab.examination.roll import roll
from gradlab.examination.trace import (
    Attempt,
    Backward,
    Called,
    Clip,
    Cut,
    Event,
    Factor,
    Fed,
    HandWritten,
    Schedule,
    Trace,
    Unscale,
    Update,
)

MOST = 50_000  # events: beyond them nothing is noted
PASSES = 16  # backward passes for each update that is waited for
MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # pyright: ignore


class Enough(BaseException):
    """Ends a user's training when enough was seen; no `except Exception` of theirs stops it."""


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


class _Mark:
    """Lives as long as the node of a graph that it is put on."""


class Watch:
    """Takes notes of everything that happens inside it; a context manager, used once.

    It stops the training by `Enough` after so many updates, unless `most` is None.
    """

    def __init__(
        self, known: Iterable[Optimizer] = (), change: Change | None = None, most: int | None = None
    ) -> None:
        self.trace = Trace()
        self.update = self.quiet = self.passes = 0
        self.change, self.most = change or Change(), most
        self.optimizers = {id(each): each for each in known}
        self.weights: dict[int, Tensor] = {}
        self.stack: list[nn.Module] = []
        self.outermost: dict[int, nn.Module] = {}
        self.calls: dict[int, tuple[nn.Module, Called]] = {}
        self._awake: dict[int, bool] = {}  # modules called with gradients since the last backward
        self._scalars: list[tuple[bool, int, Tensor]] = []
        self._aliases: list[tuple[Cut, Tensor, int]] = []
        self._marks: list[tuple[int, weakref.ref[_Mark]]] = []
        self._before: list[tuple[Any, ...]] = []
        self._alike: dict[int, set[int]] = {}
        self._hooks = ExitStack()

    # What `Functions` tells.

    def tell(self, event: Event) -> None:
        """Take an event."""
        if len(self.trace.events) < MOST:
            self.trace.events.append(event)

    def reduced(self, is_mean: bool, samples: int, out: Tensor) -> None:
        """Take a scalar that a loss or a reduction made, until the next backward pass."""
        self._scalars = [*self._scalars[-15:], (is_mean, samples, out)]

    def inside(self) -> tuple[int, str]:
        """Return the innermost module that is running, by id and name."""
        module = self.stack[-1] if self.stack else None
        return id(module), type(module).__name__ if module is not None else ""

    def aliased(self, event: Cut, alias: Tensor) -> None:
        """Take a view of a tensor's values, to see at the backward pass whether it was written."""
        self._aliases.append((event, alias, alias._version))

    def is_grad(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the gradient of a weight."""
        at = tensor.data_ptr()
        grads = (w.grad for w in self.weights.values() if w.grad is not None)
        return any(not grad.is_sparse and grad.data_ptr() == at for grad in grads)

    def clamped(self, name: str) -> Callable[[Any], None]:
        """Take the moment before a gradient is clamped; return what takes the moment after."""
        note = {**self._event(), "name": name, "before": self._prints()}
        return lambda out: self.tell(Clip(**note, after=self._prints()))

    # Entering and leaving.

    def __enter__(self) -> "Watch":
        enter = self._hooks.enter_context
        for handle in (
            modules.register_module_forward_pre_hook(self._call),
            modules.register_module_forward_hook(self._return, always_call=True),
            optimizers.register_optimizer_step_pre_hook(self._step),
            optimizers.register_optimizer_step_post_hook(self._stepped),
        ):
            self._hooks.callback(handle.remove)
        scaler = torch.amp.GradScaler
        enter(_around(Optimizer, "__init__", self._make))
        enter(_around(torch.autograd, "backward", self._backward))
        enter(_around(scaler, "unscale_", self._unscale))
        enter(_around(scaler, "step", self._attempt))
        for each in _with_step(lr_scheduler.LRScheduler):
            enter(_around(each, "step", self._schedule))
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            enter(_inside(getattr(clip_grad, name), self._clip))
        enter(_applied(self._apply))
        enter(Functions(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        self.trace.updates = self.update
        if self.most is None:
            self.settle()
        self.trace.modules = [called for _, called in self.calls.values()]
        self.trace.weights = roll(
            self.weights, [*self.outermost.values()], [*self.optimizers.values()]
        )

    def settle(self) -> None:
        """See whose graphs are still held."""
        self._scalars.clear()
        self._aliases.clear()
        gc.collect()
        self.trace.alive = sorted({update for update, mark in self._marks if mark() is not None})

    @contextmanager
    def _hush(self) -> Generator[None]:
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def _event(self) -> dict[str, Any]:
        return {"place": here(), "update": self.update}

    def _prints(self) -> Prints:
        for each in self.optimizers.values():
            for group in each.param_groups:
                self.weights |= {id(w): w for w in group["params"]}
        with self._hush():
            return prints(self.weights.values())

    # Modules.

    def _call(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if self.quiet:
            return None
        outer = not self.stack and any(True for _ in module.parameters())
        self.stack.append(module)
        with self._hush():
            place = here()
            if outer:
                self.outermost.setdefault(id(module), module)
                if self.update == 0 and self.change.gain is not None:
                    _shrink(module, self.change.gain)
            self._note_call(module, place)
            return self._feed(args, place) if outer else None

    def _note_call(self, module: nn.Module, place: Place) -> None:
        if id(module) not in self.calls:
            matters = isinstance(module, MODAL) and getattr(module, "p", 1) > 0
            own = frozenset(id(w) for w in module.parameters(recurse=False))
            kind = type(module)
            layer = kind.__module__.startswith("torch.nn.") and kind is not nn.Embedding
            called = Called("", kind.__name__, place, own, matters, layer)
            self.calls[id(module)] = module, called
        called = self.calls[id(module)][1]
        called.grad.add(torch.is_grad_enabled())
        if torch.is_grad_enabled():
            self._awake[id(module)] = self._awake.get(id(module), False) or module.training

    def _feed(self, args: tuple[Any, ...], place: Place) -> Any:
        changed = [*args]
        for i, x in enumerate(args):
            if not isinstance(x, Tensor) or not x.is_floating_point() or x.requires_grad:
                continue
            if x.ndim < 2 or len(x) < 2:
                continue
            rms = float(x.double().square().mean().sqrt())
            self.tell(Fed(place=place, update=self.update, rms=rms))
            if self.change.standardised:
                changed[i] = _standardised(x)
        return tuple(changed) if self.change.standardised else None

    def _return(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.stack and self.stack[-1] is module:
            self.stack.pop()
            if not self.stack and not self.quiet:
                self._mark(*tree_leaves(output))

    def _mark(self, *outputs: Any) -> None:
        for out in outputs:
            if isinstance(out, Tensor) and out.grad_fn is not None:
                mark = _Mark()
                out.grad_fn.metadata["gradlab.mark"] = mark
                self._marks.append((self.update, weakref.ref(mark)))

    # Backward passes.

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        roots = [t for t in tree_leaves((args[:1], kwargs.get("tensors"))) if isinstance(t, Tensor)]
        with self._hush():
            reached = [node for root in roots for node in graph.nodes(root)]
            for node in reached:
                if isinstance(getattr(node, "variable", None), nn.Parameter):
                    self.weights.setdefault(id(node.variable), node.variable)
            reaches = frozenset[int]().union(*map(graph.leaves, roots))
            self._mark(*roots)
            note = {
                **self._event(),
                "value": sum(float(root.detach().sum()) for root in roots),
                "reaches": reaches,
                "before": self._prints(),
                "factors": self._factors(roots),
            }
            note["trail"], note["asleep"] = trail(), self._asleep(reaches)
            self._written()
            del reached
            original(*args, **kwargs)
            self.tell(Backward(**note, after=self._prints()))
        self.passes += 1
        if self.most is not None and self.passes > PASSES * self.most:
            raise Enough

    def _asleep(self, reaches: frozenset[int]) -> tuple[str, ...]:
        """Return the modules that behave otherwise in evaluation, if all that learn are in it."""
        awake, self._awake = self._awake, {}
        called = [(self.calls[key][1], up) for key, up in awake.items()]
        involved = [(each, up) for each, up in called if each.mode_matters or each.weights & reaches]
        if any(up for _, up in involved) or not any(each.weights for each, _ in involved):
            return ()
        return tuple(each.kind for each, _ in involved if each.mode_matters)

    def _factors(self, roots: list[Tensor]) -> tuple[Factor, ...]:
        scalars, self._scalars = self._scalars, []
        if len(roots) != 1 or roots[0].numel() != 1 or not scalars:
            return ()
        try:
            found = torch.autograd.grad(
                roots[0], [out for _, _, out in scalars], retain_graph=True, allow_unused=True
            )
        except RuntimeError:  # a graph that may be walked only once, or one that is broken
            return ()
        return tuple(
            Factor(is_mean, samples, float(g))
            for (is_mean, samples, _), g in zip(scalars, found, strict=True)
            if g is not None
        )

    def _written(self) -> None:
        for event, alias, version in self._aliases:
            if alias._version > version:
                self.tell(replace(event, written=True))
        self._aliases.clear()

    # Updates.

    def _make(self, original: Callable[..., Any], made: Any, *args: Any, **kwargs: Any) -> None:
        original(made, *args, **kwargs)
        self.optimizers.setdefault(id(made), made)

    def _step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.optimizers.setdefault(id(optimizer), optimizer)
        found = self._prints()
        self.quiet += 1
        held = [w for group in optimizer.param_groups for w in group["params"]]
        copies = {id(w): w.detach().clone() for w in held}
        pulled = [w for w in held if w.grad is not None]
        if id(optimizer) not in self._alike:
            self._alike[id(optimizer)] = {id(w) for w in pulled if _alike(w)}
        start = [w for w in pulled if id(w) in self._alike[id(optimizer)]]
        alike = {id(w): _together(w.grad) for w in start if w.grad is not None}
        idle = {id(w): float(w.detach().double().sum()) for w in held if w.grad is None}
        rates = [group["lr"] for group in optimizer.param_groups]
        self._before.append((found, copies, alike, idle, rates))
        if self.change.lr != 1:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * self.change.lr
        return self._aloud(args), {key: self._aloud((v,))[0] for key, v in kwargs.items()}

    def _aloud(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Wrap the closure that an optimiser calls: what it does is the user's again."""

        def heard(closure: Callable[[], Any]) -> Callable[[], Any]:
            def call() -> Any:
                quiet, self.quiet = self.quiet, 0
                try:
                    return closure()
                finally:
                    self.quiet = quiet

            return call

        return tuple(
            heard(each) if callable(each) and not isinstance(each, Optimizer) else each
            for each in args
        )

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        found, copies, alike, idle, rates = self._before.pop()
        for group, lr in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        held = [w for group in optimizer.param_groups for w in group["params"]]
        with torch.no_grad():
            moved = [(w - copies[id(w)]).double().square().sum() for w in held if id(w) in copies]
        self.quiet -= 1
        self.tell(
            Update(
                **self._event(),
                optimizer=id(optimizer),
                rule=type(optimizer).__name__,
                lr=max(map(float, rates), default=0.0),
                momentum=float(optimizer.param_groups[0].get("momentum") or 0.0),
                held=frozenset(copies),
                before=found,
                after=self._prints(),
                moved=float(sum(moved)) ** 0.5,
                idle=idle,
                alike=alike,
                zero=frozenset(id(w) for w in held if id(w) in alike and not w.detach().any()),
            )
        )
        self.update += 1
        if self.most is not None and self.update >= self.most:
            self.settle()
            raise Enough

    def _clip(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.quiet:
            return original(*args, **kwargs)
        note = {**self._event(), "name": original.__name__, "before": self._prints()}
        with self._hush():
            out = original(*args, **kwargs)
        self.tell(Clip(**note, after=self._prints()))
        return out

    def _unscale(self, original: Callable[..., Any], scaler: Any, optimizer: Any) -> Any:
        with self._hush():
            out = original(scaler, optimizer)
        self.tell(Unscale(**self._event(), optimizer=id(optimizer)))
        return out

    def _attempt(
        self, original: Callable[..., Any], scaler: Any, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.tell(Attempt(**self._event(), optimizer=id(optimizer)))
        return original(scaler, optimizer, *args, **kwargs)

    def _schedule(self, original: Callable[..., Any], scheduler: Any, *args: Any, **kw: Any) -> Any:
        made = not hasattr(scheduler, "_step_count") or scheduler._step_count == 0
        if not made and not self.quiet:
            self.tell(Schedule(**self._event(), optimizer=id(getattr(scheduler, "optimizer", None))))
        with self._hush():
            return original(scheduler, *args, **kw)

    def _apply(self, function: Any, args: tuple[Any, ...]) -> None:
        if not self.quiet and not function.__module__.startswith("torch."):
            kept = tuple(a.detach().clone() if isinstance(a, Tensor) else a for a in args)
            with self._hush():
                self.tell(HandWritten(**self._event(), function=function, args=kept))


@contextmanager
def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> Generator[None]:
    """Have `wrapper` called in place of an attribute, with the original as its first argument."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    call.__name__ = name
    with patch.object(owner, name, call):
        yield


@contextmanager
def _inside(decorated: Any, wrapper: Callable[..., Any]) -> Generator[None]:
    """Have `wrapper` called by torch's clipping functions, whoever holds a reference to them.

    They are decorated: the function proper is in a cell of the decorator's closure.
    """
    proper = getattr(decorated, "__wrapped__", None)
    cells = [c for c in decorated.__closure__ or () if c.cell_contents is proper]

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(proper, *args, **kwargs)

    try:
        for cell in cells:
            cell.cell_contents = call
        yield
    finally:
        for cell in cells:
            cell.cell_contents = proper


@contextmanager
def _applied(told: Callable[[Any, tuple[Any, ...]], None]) -> Generator[None]:
    """Be told of every call of a `torch.autograd.Function`."""
    original: Any = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        told(cls, args)
        return original.__func__(cls, *args, **kwargs)

    with patch.object(torch.autograd.Function, "apply", classmethod(apply)):
        yield


def _with_step(base: type) -> list[type]:
    """Return a class and all below it that define `step` themselves."""
    below = [found for each in base.__subclasses__() for found in _with_step(each)]
    return [*dict.fromkeys([base, *below] if "step" in vars(base) else below)]


def _alike(tensor: Tensor) -> bool:
    """Say whether all rows of a matrix of at least two are equal."""
    t = tensor.detach()
    if t.ndim < 2 or len(t) < 2 or t.is_sparse:
        return False
    return bool((t[0] == t[1]).all()) and bool((t == t[:1]).all())


def _together(grad: Tensor) -> float:
    """Return how far the rows of a gradient agree in direction: 1 if they are parallel, or all 0."""
    rows = grad.detach().double().flatten(1)
    norms = rows.norm(dim=1)
    rows = rows[norms > 0] / norms[norms > 0].unsqueeze(1)
    return float(rows.mean(0).norm()) if len(rows) else 1.0


def _standardised(x: Tensor) -> Tensor:
    over = 0 if x.ndim == 2 else tuple(range(x.ndim))
    mean, std = x.mean(over, keepdim=True), x.std(over, keepdim=True)
    return torch.where(std > 0, (x - mean) / std.clamp(min=1e-12), torch.zeros_like(x))


def _shrink(module: nn.Module, gain: float) -> None:
    with torch.no_grad():
        for w in module.parameters():
            if w.ndim >= 2:
                own = w.double().square().mean().sqrt() * w[0].numel() ** 0.5
                if own > gain:
                    w.mul_(gain / float(own))
