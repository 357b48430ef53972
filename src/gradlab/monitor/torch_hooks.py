"""Notify a listener of backward passes, clipping and loss scaling.

The training loop calls torch, not gradlab. So gradlab wraps torch's functions while a network is
watched, with `gradlab.recording.patches`. The wrapped functions return the same results.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad

from gradlab.nonfinite.recorded_calls import tensors_of
from gradlab.recording.patches import wrap, wrap_decorated

Function = Callable[..., Any]


class Listener(Protocol):
    """Receives a notification before or after each call."""

    def begin_backward(self, roots: Sequence[Tensor], loss: Tensor | None) -> None:
        """Handle the start of a backward pass; `loss` is the sum of the roots, if scalars."""
        ...

    def end_backward(self) -> None:
        """Handle the end of a backward pass."""
        ...

    def before_clipping(self, parameters: Sequence[Tensor]) -> None:
        """Handle parameters whose gradients are about to be clipped."""
        ...

    def after_scaling(self, losses: Sequence[Tensor], scale: Tensor) -> None:
        """Handle losses that a `GradScaler` has multiplied by its scale."""
        ...

    def after_unscaling(self, optimizer: Any) -> None:
        """Handle the gradients of an optimiser, which a `GradScaler` has divided by its scale."""
        ...

    def begin_scaler_step(self, optimizer: Any) -> None:
        """Handle the start of `GradScaler.step`."""
        ...

    def end_scaler_step(self, optimizer: Any, scaler: GradScaler) -> None:
        """Handle the end of `GradScaler.step`, which may have skipped the optimiser's step."""
        ...


@contextmanager
def notify(listener: Listener) -> Generator[None]:
    """Notify a listener while the context is open."""

    def backward(
        original: Function, tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        roots = list(tensors_of(tensors))
        scalars = grad_tensors is None and all(root.numel() == 1 for root in roots)
        listener.begin_backward(roots, _sum_scalars(roots) if scalars and roots else None)
        try:
            return original(tensors, grad_tensors, *args, **kwargs)
        finally:
            listener.end_backward()

    def clip(original: Function, parameters: Any, *args: Any, **kwargs: Any) -> Any:
        as_list = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        listener.before_clipping(as_list)
        return original(as_list, *args, **kwargs)

    def scale(original: Function, scaler: GradScaler, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if scaler.is_enabled():
            scaled = scaled if isinstance(scaled, Tensor | list | tuple) else list(scaled)
            losses = list(tensors_of(scaled))
            one = torch.ones((), device=losses[0].device if losses else None)
            listener.after_scaling(losses, original(scaler, one))
        return scaled

    def unscale(original: Function, scaler: GradScaler, optimizer: Any) -> None:
        original(scaler, optimizer)
        if scaler.is_enabled():
            listener.after_unscaling(optimizer)

    def step(
        original: Function, scaler: GradScaler, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        listener.begin_scaler_step(optimizer)
        result = original(scaler, optimizer, *args, **kwargs)
        listener.end_scaler_step(optimizer, scaler)
        return result

    # Since torch 2.6, `clip_grad_norm_` calls a second public function, which is wrapped instead.
    by_norm = getattr(clip_grad, "_clip_grads_with_norm_", clip_grad.clip_grad_norm_)
    with ExitStack() as stack:
        for context in (
            wrap(torch.autograd, "backward", backward),
            wrap_decorated(by_norm, clip),
            wrap_decorated(clip_grad.clip_grad_value_, clip),
            wrap(GradScaler, "scale", scale),
            wrap(GradScaler, "unscale_", unscale),
            wrap(GradScaler, "step", step),
        ):
            stack.enter_context(context)
        yield


def _sum_scalars(roots: Sequence[Tensor]) -> Tensor:
    """Return the sum of the roots, whose gradient the backward pass computes."""
    first, *others = [root.detach().reshape(()) for root in roots]
    return sum((other.to(first.device) for other in others), first)
