"""Losses and reductions: what they are given, and what scalars they make."""

import inspect
from collections.abc import Mapping
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.events.listener import After, Listener, Note
from gradlab.debugger.observe.source_lines import here
from gradlab.debugger.observe.trace import Labels, Loss

LOSSES = (
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "soft_margin_loss",
    "gaussian_nll_loss", "poisson_nll_loss",
)  # fmt: skip
OF_CLASSES = ("cross_entropy", "nll_loss")
OF_TWO = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@cache
def loss(name: str) -> Note:
    """Return the note of one of torch's losses: its event, and the scalar that it makes."""
    signature = inspect.signature(getattr(functional, name))

    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return None
        output, target = given.get("input"), given.get("target")
        if not isinstance(output, Tensor) or not output.requires_grad:
            return None
        if isinstance(target, Tensor):
            ignored = given.get("ignore_index", -100)
            listener.tell(_event(listener, name, output, target, ignored))
        is_mean = given.get("reduction", "mean") in ("mean", "batchmean")
        return lambda out: _reduce(is_mean, output, out)

    return note


def reduction(is_mean: bool) -> Note:
    """Return the note of `mean` or `sum`: the scalar that it makes."""

    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        of = args[0] if args else None
        if not isinstance(of, Tensor) or not of.requires_grad or of.numel() < 2:
            return None
        return lambda out: _reduce(is_mean, of, out)

    return note


def difference(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Note a difference of outputs (N, 1) and targets (N,), written by hand."""
    if len(args) < 2 or not all(isinstance(each, Tensor) for each in args[:2]):
        return
    output, target = args[:2] if args[0].requires_grad else args[1::-1]
    n, shapes = output.numel(), (tuple(output.shape), tuple(target.shape))
    is_one_sided = output.requires_grad and not target.requires_grad
    node = output.grad_fn
    is_meant = (
        node is not None and autograd_graph.kind(node) == "Unsqueeze"
    )  # z[:, None] - y: all pairs
    if is_one_sided and not is_meant and n > 1 and {*shapes} == {(n, 1), (n,)}:
        listener.tell(Loss(**listener.now(), name="-", shapes=shapes, broadcast=True))


def _event(listener: Listener, name: str, output: Tensor, target: Tensor, ignored: int) -> Loss:
    nodes = [*autograd_graph.origins(output)]
    origin, value = nodes[0] if len(nodes) == 1 else None, output.detach()
    return Loss(
        **listener.now(),
        name=name,
        shapes=(tuple(output.shape), tuple(target.shape)),
        broadcast=_is_broadcast(output, target),
        origin=autograd_graph.kind(origin) if origin is not None else "",
        made=autograd_graph.made(origin) if origin is not None else None,
        distribution=name in OF_CLASSES and _is_distribution(value),
        labels=_labels(name, value, target, ignored),
        lost=_lost(value, target) if name == "binary_cross_entropy" else 0,
    )


def _is_broadcast(output: Tensor, target: Tensor) -> bool:
    """Say whether each of two shapes is expanded against the other: (N, 1) and (N,) give (N, N)."""
    try:
        shape = torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return False
    return prod(shape) > max(output.numel(), target.numel())


def _is_distribution(output: Tensor) -> bool:
    """Say whether the outputs are probabilities over classes, of at least two samples."""
    if output.ndim < 2 or output.shape[1] < 2 or output.numel() == output.shape[1]:
        return False
    close = 1e-9 if output.dtype == torch.float64 else 1e-3
    return bool((output >= 0).all() & ((output.double().sum(1) - 1).abs() < close).all())


def _labels(name: str, output: Tensor, target: Tensor, ignored: int) -> Labels | None:
    if name in OF_TWO:
        return _binary(target)
    if name not in OF_CLASSES or target.is_floating_point() or output.ndim < 2:
        return None
    kept = target[target != ignored].flatten()
    checksum = int((kept * torch.arange(1, len(kept) + 1, device=kept.device)).sum())
    seen = frozenset(kept.unique().tolist())
    return Labels(output.shape[1], seen, kept.numel(), checksum, ignored)


def _binary(target: Tensor) -> Labels | None:
    """Return targets of a loss for 0 and 1, if they are whole numbers; None of probabilities."""
    if not bool((target == target.round()).all()):
        return None
    return Labels(2, frozenset(map(int, target.unique().tolist())), target.numel(), binary=True)


def _lost(p: Tensor, target: Tensor) -> int:
    """Return how many answers are wrong and sure: sigmoid has rounded to 0 or 1."""
    if p.shape != target.shape:
        return 0
    return int((((p == 0) | (p == 1)) & ((p - target).abs() > 0.5)).sum())


def _reduce(is_mean: bool, of: Tensor, out: Any) -> None:
    if isinstance(out, Tensor) and out.requires_grad and out.numel() == 1:
        autograd_graph.remember(out, here(), (is_mean, len(of) if of.ndim else 1))
