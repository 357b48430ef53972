"""Records the events of torch functions: layers, activations, losses and reductions.

A `CallHandler` receives the arguments of a call before it runs. It may return a `ResultHandler`,
which receives the result.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.backward_calls import BackwardCalls
from gradlab.debugger.observe.events import (
    ClassLabels,
    LinearCall,
    LossCall,
    ReluCall,
    SigmoidCall,
)
from gradlab.debugger.observe.module_calls import ModuleCalls
from gradlab.debugger.observe.optimizer_steps import OptimizerSteps
from gradlab.debugger.observe.source_lines import current_line
from gradlab.debugger.observe.trace import EventLog

SATURATED = 0.05  # times the maximum of |phi'|; equal to `saturated` in gradlab.schema
LOSSES = (
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "soft_margin_loss",
    "gaussian_nll_loss", "poisson_nll_loss",
)  # fmt: skip
CLASS_LOSSES = ("cross_entropy", "nll_loss")
BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@dataclass(frozen=True)
class Recorders:
    """The recorders of one training.

    Attributes:
        log: the events.
        modules: the recorder of module calls.
        backward: the recorder of backward passes.
        steps: the recorder of optimisers and schedules.
    """

    log: EventLog
    modules: ModuleCalls
    backward: BackwardCalls
    steps: OptimizerSteps


ResultHandler = Callable[[Any], None]
CallHandler = Callable[[Recorders, tuple[Any, ...], Mapping[str, Any]], ResultHandler | None]


def record_linear(
    recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ResultHandler | None:
    """Record the first call of a linear map with each weight.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.

    Returns:
        The handler of the result, if the call is recorded.
    """
    log = recorders.log
    if log.step or len(args) < 2 or not all(isinstance(each, Tensor) for each in args[:2]):
        return None
    x, w = args[0], _leaf(args[1])
    if w is None or not w.requires_grad or w.ndim < 2 or not x.is_floating_point():
        return None
    fan_in = x.shape[-1] if w.ndim == 2 else w[0].numel()
    recorders.modules.shrink(w, fan_in)

    def record(out: Tensor) -> None:
        gain = _rms(w) * sqrt(fan_in)
        log.add(LinearCall(**log.now(), weight=id(w), gain=gain, rms_in=_rms(x), rms_out=_rms(out)))

    return record


def _leaf(w: Tensor) -> Tensor | None:
    """Return the weight itself, also for a transposed weight; None if it is computed."""
    if w.is_leaf:
        return w
    transposing = ("T", "Transpose", "Permute")
    is_transposed = w.grad_fn is not None and autograd_graph.operation(w.grad_fn) in transposing
    base = w._base
    return base if is_transposed and base is not None and base.is_leaf else None


def record_line(
    recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ResultHandler:
    """Store the line of an operation in its graph.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.

    Returns:
        The handler of the result.
    """
    line = current_line()

    def record(out: Any) -> None:
        if isinstance(out, Tensor):
            autograd_graph.store_line(out, line)

    return record


def saturation_handler(name: str) -> CallHandler:
    """Return the handler of `sigmoid` or `tanh`: stores the line, records the first saturation."""

    def handle(
        recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultHandler:
        store_line, log = record_line(recorders, args, kwargs), recorders.log

        def record(out: Any) -> None:
            store_line(out)
            if log.step == 0 and out.requires_grad and out.ndim > 1:
                a = out.detach().double()
                slope = 1 - a * a if name == "tanh" else 4 * a * (1 - a)
                saturated = float((slope < SATURATED).double().mean())
                log.add(SigmoidCall(**log.now(), name=name, saturated=saturated))

        return record

    return handle


def record_relu(recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record the units of a ReLU that are 0 for all samples.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.
    """
    z = args[0] if args else None
    if not isinstance(z, Tensor) or not z.requires_grad or z.ndim < 2:
        return
    inputs = [] if z.grad_fn is None else autograd_graph.direct_leaves(z.grad_fn)
    if not inputs and not recorders.modules.in_network:
        return  # the hinge of a loss: values of 0 are intended
    units = 1 if z.ndim > 3 else z.ndim - 1  # the units of images are channels
    flat = z.detach().movedim(units, -1).flatten(0, -2)
    dead = (flat <= 0).all(0) & (flat < 0).any(0)
    now = recorders.log.now()
    bias, spread = _bias(inputs, flat, dead)
    recorders.log.add(
        ReluCall(
            **now,
            key=(recorders.modules.innermost(), now["line"]),
            units=flat.shape[1],
            samples=flat.shape[0],
            dead=frozenset(dead.nonzero().flatten().tolist()),
            bias=bias,
            spread=spread,
        )
    )


def record_clamp(recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Record a clamp at 0, which is a ReLU.

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.
    """
    if [*args[1:], *kwargs.values()] in ([0], [0.0]) and "max" not in kwargs:
        record_relu(recorders, args, kwargs)


def _bias(inputs: list[Tensor], flat: Tensor, dead: Tensor) -> tuple[float | None, float | None]:
    """Return the mean bias of dead units, and the spread of their pre-activations.

    Args:
        inputs: the leaves among the inputs of the linear map.
        flat: the pre-activations, [N, units].
        dead: whether each unit is dead, [units].

    Returns:
        The mean bias and the standard deviation over samples; None without a bias.
    """
    found = [leaf for leaf in inputs if leaf.ndim == 1 and len(leaf) == flat.shape[1]]
    if not found or not dead.any() or len(flat) < 2:
        return None, None
    return float(found[0].detach()[dead].mean()), float(flat[:, dead].std(0).mean())


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())


@cache
def loss_handler(name: str) -> CallHandler:
    """Return the handler of a loss: records the call, stores whether the result is a mean."""
    signature = inspect.signature(getattr(functional, name))

    def handle(
        recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultHandler | None:
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return None
        output, target = bound.get("input"), bound.get("target")
        if not isinstance(output, Tensor) or not output.requires_grad:
            return None
        if isinstance(target, Tensor):
            ignored = bound.get("ignore_index", -100)
            recorders.log.add(_loss_call(recorders.log, name, output, target, ignored))
        is_mean = bound.get("reduction", "mean") in ("mean", "batchmean")
        return lambda out: _store_scalar(is_mean, output, out)

    return handle


def reduction_handler(is_mean: bool) -> CallHandler:
    """Return the handler of `mean` or `sum`: stores it with the result."""

    def handle(
        recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultHandler | None:
        terms = args[0] if args else None
        if not isinstance(terms, Tensor) or not terms.requires_grad or terms.numel() < 2:
            return None
        return lambda out: _store_scalar(is_mean, terms, out)

    return handle


def record_difference(
    recorders: Recorders, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Record a hand-written loss: a difference of outputs (N, 1) and targets (N,).

    Args:
        recorders: the recorders of the training.
        args: the arguments of the call.
        kwargs: its keyword arguments.
    """
    if len(args) < 2 or not all(isinstance(each, Tensor) for each in args[:2]):
        return
    output, target = args[:2] if args[0].requires_grad else args[1::-1]
    n, shapes = output.numel(), (tuple(output.shape), tuple(target.shape))
    is_one_sided = output.requires_grad and not target.requires_grad
    node = output.grad_fn  # z[:, None] - y: all pairs are intended
    is_intended = node is not None and autograd_graph.operation(node) == "Unsqueeze"
    if is_one_sided and not is_intended and n > 1 and {*shapes} == {(n, 1), (n,)}:
        recorders.log.add(LossCall(**recorders.log.now(), name="-", shapes=shapes, broadcast=True))


def _loss_call(log: EventLog, name: str, output: Tensor, target: Tensor, ignored: int) -> LossCall:
    """Return the event of a loss.

    Args:
        log: the log, for line and step.
        name: the name of the loss.
        output: the output of the model, with a graph.
        target: the target.
        ignored: the label that the loss ignores.

    Returns:
        The event.
    """
    nodes = [*autograd_graph.origins(output)]
    origin, value = nodes[0] if len(nodes) == 1 else None, output.detach()
    return LossCall(
        **log.now(),
        name=name,
        shapes=(tuple(output.shape), tuple(target.shape)),
        broadcast=_is_broadcast(output, target),
        origin=autograd_graph.operation(origin) if origin is not None else "",
        origin_line=autograd_graph.line_of(origin) if origin is not None else None,
        distribution=name in CLASS_LOSSES and _is_distribution(value),
        labels=_labels(name, value, target, ignored),
        lost=_lost(value, target) if name == "binary_cross_entropy" else 0,
    )


def _is_broadcast(output: Tensor, target: Tensor) -> bool:
    """Return whether two shapes are expanded against each other: (N, 1) and (N,) give (N, N)."""
    try:
        shape = torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return False
    return prod(shape) > max(output.numel(), target.numel())


def _is_distribution(output: Tensor) -> bool:
    """Return whether the outputs are probabilities over classes, for at least two samples."""
    if output.ndim < 2 or output.shape[1] < 2 or output.numel() == output.shape[1]:
        return False
    close = 1e-9 if output.dtype == torch.float64 else 1e-3
    return bool((output >= 0).all() & ((output.double().sum(1) - 1).abs() < close).all())


def _labels(name: str, output: Tensor, target: Tensor, ignored: int) -> ClassLabels | None:
    """Return the labels of a loss for classes.

    Args:
        name: the name of the loss.
        output: the output, [N, classes, ...].
        target: the target.
        ignored: the label that the loss ignores.

    Returns:
        The labels; None if the targets are not labels.
    """
    if name in BINARY_LOSSES:
        return _binary_labels(target)
    if name not in CLASS_LOSSES or target.is_floating_point() or output.ndim < 2:
        return None
    used = target[target != ignored].flatten()
    checksum = int((used * torch.arange(1, len(used) + 1, device=used.device)).sum())
    seen = frozenset(used.unique().tolist())
    return ClassLabels(output.shape[1], seen, used.numel(), checksum, ignored)


def _binary_labels(target: Tensor) -> ClassLabels | None:
    """Return the labels of a loss for 0 and 1; None if they are not whole numbers."""
    if not bool((target == target.round()).all()):
        return None
    seen = frozenset(map(int, target.unique().tolist()))
    return ClassLabels(2, seen, target.numel(), binary=True)


def _lost(p: Tensor, target: Tensor) -> int:
    """Return the number of wrong outputs that sigmoid rounded to exactly 0 or 1."""
    if p.shape != target.shape:
        return 0
    return int((((p == 0) | (p == 1)) & ((p - target).abs() > 0.5)).sum())


def _store_scalar(is_mean: bool, terms: Tensor, out: Any) -> None:
    """Store in the graph that a scalar is a mean or a sum.

    Args:
        is_mean: whether it is a mean.
        terms: the values in the mean or sum, [N, ...].
        out: the scalar; any other result is ignored.
    """
    if isinstance(out, Tensor) and out.requires_grad and out.numel() == 1:
        samples = len(terms) if terms.ndim else 1
        autograd_graph.store_line(out, current_line(), (is_mean, samples))
