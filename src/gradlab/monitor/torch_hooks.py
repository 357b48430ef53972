"""What PyTorch is asked to do while a network is watched: backward passes, clipping, loss scaling.

The loop says these things to PyTorch, not to gradlab. Each function is wrapped once, while anything
is watched, and put back after; the wrappers change no result.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad

from gradlab.monitor.calls import tensors_of

Function = Callable[..., Any]


class Listener(Protocol):
    """Who wants to know."""

    def backward_begins(self, roots: Sequence[Tensor], loss: Tensor | None) -> None:
        """Take note of where a backward pass begins, and of the loss, if these are losses."""
        ...

    def backward_ends(self) -> None:
        """Take note that it has ended."""
        ...

    def clipping(self, parameters: Sequence[Tensor]) -> None:
        """Look at these parameters' gradients, which are about to be clipped."""
        ...

    def multiplied(self, losses: Sequence[Tensor], scale: Tensor) -> None:
        """Take note of scaled losses, and of what they were multiplied by."""
        ...

    def divided(self, optimizer: Any) -> None:
        """Take note that the gradients of an optimiser's parameters are no longer scaled."""
        ...

    def asked_to_step(self, optimizer: Any) -> None:
        """Take note that a `GradScaler` is asked to let an optimiser step."""
        ...

    def has_been_asked(self, optimizer: Any) -> None:
        """Take note that it has done so, or has skipped the step."""
        ...


_listeners: list[Listener] = []
_originals: list[tuple[Any, str, Function]] = []


def listen(listener: Listener) -> None:
    """Begin to tell a listener."""
    if not _listeners:
        _wrap_all()
    _listeners.append(listener)


def leave(listener: Listener) -> None:
    """Tell it no more; with the last one the functions are PyTorch's own again."""
    _listeners.remove(listener)
    if not _listeners:
        while _originals:
            owner, name, original = _originals.pop()
            setattr(owner, name, original)


def _wrap_all() -> None:
    _wrap(torch.autograd, "backward", _backward)
    # The inner function of clip_grad_norm_ is met however that was imported.
    inner = hasattr(clip_grad, "_clip_grads_with_norm_")
    _wrap(clip_grad, "_clip_grads_with_norm_" if inner else "clip_grad_norm_", _clip)
    _wrap(clip_grad, "clip_grad_value_", _clip)
    for name in ("clip_grad_value_", "clip_grads_with_norm_" if inner else "clip_grad_norm_"):
        _wrap(torch.nn.utils, name, _clip)
    _wrap(GradScaler, "scale", _scale)
    _wrap(GradScaler, "unscale_", _unscale)
    _wrap(GradScaler, "step", _step)


def _wrap(owner: Any, name: str, around: Callable[[Function], Function]) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    wrapper = around(original)
    wrapper.__name__, wrapper.__doc__ = original.__name__, original.__doc__
    setattr(owner, name, wrapper)


def sum_of(roots: Sequence[Tensor]) -> Tensor:
    """Return what a backward pass from several scalars is the gradient of."""
    first, *others = [root.detach().reshape(()) for root in roots]
    return sum((other.to(first.device) for other in others), first)


def _backward(original: Function) -> Function:
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
        roots = list(tensors_of(tensors))
        scalars = grad_tensors is None and all(root.numel() == 1 for root in roots)
        loss = sum_of(roots) if scalars and roots else None
        for listener in _listeners:
            listener.backward_begins(roots, loss)
        try:
            return original(tensors, grad_tensors, *args, **kwargs)
        finally:
            for listener in _listeners:
                listener.backward_ends()

    return backward


def _clip(original: Function) -> Function:
    def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        for listener in _listeners:
            listener.clipping(several)
        return original(several, *args, **kwargs)

    return clip


def _scale(original: Function) -> Function:
    def scale(self: GradScaler, outputs: Any) -> Any:
        scaled = original(self, outputs)
        if self.is_enabled():
            scaled = scaled if isinstance(scaled, Tensor | list | tuple) else list(scaled)
            losses = list(tensors_of(scaled))
            one = torch.ones((), device=losses[0].device if losses else None)
            for listener in _listeners:
                listener.multiplied(losses, original(self, one))
        return scaled

    return scale


def _unscale(original: Function) -> Function:
    def unscale_(self: GradScaler, optimizer: Any) -> None:
        original(self, optimizer)
        if self.is_enabled():
            for listener in _listeners:
                listener.divided(optimizer)

    return unscale_


def _step(original: Function) -> Function:
    def step(self: GradScaler, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in _listeners:
            listener.asked_to_step(optimizer)
        done = original(self, optimizer, *args, **kwargs)
        for listener in _listeners:
            listener.has_been_asked(optimizer)
        return done

    return step
