"""What is noted of torch's functions while a user's training runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod, sqrt
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradlab.examination import graph
from gradlab.examination.place import Place, here
from gradlab.examination.trace import (
    Cut,
    Event,
    InPlace,
    Labels,
    Log,
    Loss,
    Mapped,
    Rectified,
    Squashed,
)

LOSSES = (
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "soft_margin_loss",
    "gaussian_nll_loss", "poisson_nll_loss",
)  # fmt: skip
CLAMPS = ("clamp_", "clip_")
FLAT = 0.05  # of the maximum of |phi'|: as `saturated` in gradlab.schema


class Listener(Protocol):
    """Who takes the notes."""

    @property
    def quiet(self) -> int:
        """Whether what runs is not to be noted."""
        ...

    @property
    def update(self) -> int:
        """How many updates were made."""
        ...

    def tell(self, event: Event) -> None:
        """Take an event."""
        ...

    def reduced(self, is_mean: bool, samples: int, out: Tensor) -> None:
        """Take a scalar that a loss or a reduction made."""
        ...

    def inside(self) -> tuple[int, str]:
        """Return the innermost module that is running, by id and name."""
        ...

    def is_grad(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the gradient of a weight."""
        ...

    def clamped(self, name: str) -> Callable[[Any], None]:
        """Take the moment before a gradient is clamped; return what takes the moment after."""
        ...

    def aliased(self, event: Cut, alias: Tensor) -> None:
        """Take an event whose result shares memory with the graph's."""
        ...


class Functions(TorchFunctionMode):
    """Sees every torch function that the user's code or a module calls."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function, and note what matters of it."""
        kwargs = kwargs or {}
        note = None if self.listener.quiet else _note(func)
        if note is None:
            return func(*args, **kwargs)
        before = note(self.listener, args, kwargs)
        out = func(*args, **kwargs)
        if before is not None:
            before(out)
        return out


After = Callable[[Any], None]
Note = Callable[[Listener, tuple[Any, ...], Mapping[str, Any]], After | None]


def _note(func: Callable[..., Any]) -> Note | None:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _cut("data") if getattr(func, "__self__", None) == Tensor.data else None
    if name in LOSSES:
        return _loss(name)
    if name in NOTES:
        return NOTES[name]
    is_public = not name.startswith("_") and name.endswith("_")
    if is_public or name in ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__"):
        return _in_place(name)
    return None


@cache
def _loss(name: str) -> Note:
    signature = inspect.signature(getattr(F, name))

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
            listener.tell(_told(listener, name, output, target, ignored))
        is_mean = given.get("reduction", "mean") in ("mean", "batchmean")
        return lambda out: _reduce(listener, is_mean, output, out)

    return note


def _told(listener: Listener, name: str, output: Tensor, target: Tensor, ignored: int) -> Loss:
    nodes = [*graph.origins(output)]
    origin = graph.kind(nodes[0]) if len(nodes) == 1 else ""
    value = output.detach()
    return Loss(
        place=here(),
        update=listener.update,
        name=name,
        shapes=(tuple(output.shape), tuple(target.shape)),
        broadcast=_broadcast(output, target),
        origin=origin,
        made=_made(nodes[0]) if origin else None,
        distribution=name in ("cross_entropy", "nll_loss") and _is_distribution(value),
        labels=_labels(value, target, ignored) if name in ("cross_entropy", "nll_loss") else None,
        lost=_lost(value, target) if name == "binary_cross_entropy" else 0,
    )


def _broadcast(output: Tensor, target: Tensor) -> bool:
    """Say whether each of two shapes is expanded against the other: (N, 1) and (N,) give (N, N)."""
    try:
        shape = torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return False
    return prod(shape) > max(output.numel(), target.numel())


def _is_distribution(output: Tensor) -> bool:
    """Say whether the outputs are probabilities over classes, of at least two samples."""
    classes = min(1, output.ndim - 1)
    if output.ndim < 2 or output.numel() == output.shape[classes] or output.shape[classes] < 2:
        return False
    sums = output.double().sum(classes)
    close = (sums - 1).abs() < 1e-3 if output.dtype != torch.float64 else (sums - 1).abs() < 1e-9
    return bool(((output >= 0).all()) & close.all())


def _labels(output: Tensor, target: Tensor, ignored: int) -> Labels | None:
    if target.is_floating_point() or output.ndim < 2:
        return None
    kept = target[target != ignored].flatten()
    return Labels(output.shape[1], frozenset(kept.unique().tolist()), kept.numel(), ignored)


def _lost(p: Tensor, target: Tensor) -> int:
    if p.shape != target.shape:
        return 0
    return int((((p == 0) | (p == 1)) & ((p - target).abs() > 0.5)).sum())


def _made(node: Any) -> Place | None:
    return node.metadata.get("gradlab.place")


def _reduce(listener: Listener, is_mean: bool, of: Tensor, out: Any) -> None:
    if isinstance(out, Tensor) and out.requires_grad and out.numel() == 1:
        listener.reduced(is_mean, len(of) if of.ndim else 1, out)


def _reduction(is_mean: bool) -> Note:
    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        many = isinstance(args[0], Tensor) and args[0].requires_grad and args[0].numel() > 1
        return (lambda out: _reduce(listener, is_mean, args[0], out)) if many else None

    return note


def _difference(
    listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> After | None:
    """A difference of outputs (N, 1) and targets (N,), written by hand."""
    if len(args) < 2 or not all(isinstance(each, Tensor) for each in args[:2]):
        return
    a, b = args[:2]
    if not (a.requires_grad or b.requires_grad) or (a.requires_grad and b.requires_grad):
        return
    output, target = (a, b) if a.requires_grad else (b, a)
    shapes = (tuple(output.shape), tuple(target.shape))
    n = output.numel()
    if n > 1 and {shapes[0], shapes[1]} == {(n, 1), (n,)}:
        listener.tell(
            Loss(
                place=here(), update=listener.update, name="-", shapes=shapes, broadcast=True
            )
        )  # fmt: skip


def _marked(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After:
    place = here()

    def after(out: Any) -> None:
        if isinstance(out, Tensor) and out.grad_fn is not None:
            out.grad_fn.metadata["gradlab.place"] = place

    return after


def _squashing(name: str) -> Note:
    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After:
        mark = _marked(listener, args, kwargs)

        def after(out: Any) -> None:
            mark(out)
            if listener.update == 0 and out.requires_grad and out.ndim > 1:
                a = out.detach().double()
                slope = 1 - a * a if name == "tanh" else 4 * a * (1 - a)
                listener.tell(
                    Squashed(
                        place=here(),
                        update=0,
                        name=name,
                        saturated=float((slope < FLAT).double().mean()),
                    )
                )

        return after

    return note


def _log(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    return _logged(listener, args[0], args[0])


def _log1p(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    with torch.no_grad():
        return _logged(listener, args[0], args[0] + 1)


def _logged(listener: Listener, x: Tensor, argument: Tensor) -> None:
    zeros = int((argument.detach() == 0).sum())
    if not zeros and not x.requires_grad:
        return
    nodes = [*graph.origins(x, lambda node: graph.kind(node) in ("Rsub", "Sub", "Neg"))]
    kinds = {graph.kind(node) for node in nodes} - {"", "AccumulateGrad"}
    listener.tell(
        Log(
            place=here(),
            update=listener.update,
            zeros=zeros,
            size=x.numel(),
            origin=next(iter(kinds)) if len(kinds) == 1 else "",
            dtype=str(x.dtype).removeprefix("torch."),
        )
    )


def _relu(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    z = args[0]
    if not isinstance(z, Tensor) or not z.requires_grad or z.ndim < 2:
        return
    units = 1 if z.ndim > 3 else z.ndim - 1
    flat = z.detach().movedim(units, -1).flatten(0, -2)
    dead = (flat <= 0).all(0) & (flat < 0).any(0)
    key, name = listener.inside()
    place = here()
    bias, spread = _bias(z, flat, dead)
    listener.tell(
        Rectified(
            key=(key, place),
            place=place,
            update=listener.update,
            name=name,
            units=flat.shape[1],
            samples=flat.shape[0],
            dead=frozenset(dead.nonzero().flatten().tolist()),
            bias=bias,
            spread=spread,
        )
    )


def _clamped(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    """A ReLU by another name."""
    given = [*args[1:], *kwargs.values()]
    return _relu(listener, args, kwargs) if given in ([0], [0.0]) and "max" not in kwargs else None


def _bias(z: Tensor, flat: Tensor, dead: Tensor) -> tuple[float | None, float | None]:
    """Return the mean bias of dead units, and the spread over samples of what it is added to."""
    own = [] if z.grad_fn is None else graph.own_leaves(z.grad_fn)
    found = [leaf for leaf in own if leaf.ndim == 1 and len(leaf) == flat.shape[1]]
    if not found or not dead.any():
        return None, None
    bias = found[0].detach()[dead]
    return float(bias.mean()), float(flat[:, dead].std(0).mean()) if len(flat) > 1 else None


def _mapping(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    if listener.update or len(args) < 2:
        return None
    x, w = args[:2]
    if not isinstance(x, Tensor) or not isinstance(w, Tensor):
        return None
    if not w.requires_grad or not w.is_leaf or w.ndim < 2 or not x.is_floating_point():
        return None

    def after(out: Tensor) -> None:
        fan_in = x.shape[-1] if w.ndim == 2 else w[0].numel()
        listener.tell(
            Mapped(
                place=here(),
                update=0,
                weight=id(w),
                gain=_rms(w) * sqrt(fan_in),
                rms_in=_rms(x),
                rms_out=_rms(out),
            )
        )

    return after


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())


@cache
def _cut(how: str) -> Note:
    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        source = args[0] if args else None
        if not isinstance(source, Tensor) or source.grad_fn is None:
            return None
        event = Cut(
            place=here(), update=listener.update, how=how, reaches=graph.leaves(source)
        )  # fmt: skip
        listener.tell(event)
        if how == "data":
            return lambda out: listener.aliased(event, out)
        return None

    return note


@cache
def _in_place(name: str) -> Note:
    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
        tensor = args[0] if args else None
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        if name in CLAMPS and listener.is_grad(tensor):
            return listener.clamped(name)
        if tensor.requires_grad:
            listener.tell(
                InPlace(
                    place=here(), update=listener.update, name=name, shape=tuple(tensor.shape)
                )
            )  # fmt: skip
        return None

    return note


NOTES: dict[str, Note] = {
    **dict.fromkeys(("sub", "__sub__", "__rsub__", "rsub", "subtract"), _difference),
    **dict.fromkeys(("softmax", "log_softmax"), _marked),
    **dict.fromkeys(("log", "log2", "log10"), _log),
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("clamp", "clamp_min"), _clamped),
    "log1p": _log1p,
    **dict.fromkeys(
        ("linear", "conv1d", "conv2d", "conv3d", "matmul", "__matmul__", "mm"), _mapping
    ),
    **{how: _cut(how) for how in ("detach", "item", "__float__", "tolist", "numpy", "tensor")},
    "sigmoid": _squashing("sigmoid"),
    "tanh": _squashing("tanh"),
    "mean": _reduction(True),
    "sum": _reduction(False),
}
