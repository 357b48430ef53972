"""Linear maps and activations: sizes of weights and signals, units that are flat or dead."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from torch import Tensor

from gradlab.debugger.observe import autograd_graph
from gradlab.debugger.observe.events.listener import After, Listener, Note
from gradlab.debugger.observe.source_lines import here
from gradlab.debugger.observe.trace import Mapped, Rectified, Squashed

FLAT = 0.05  # of the maximum of |phi'|: as `saturated` in gradlab.schema


def linear(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After | None:
    """Note the first pass of a linear map through a weight."""
    if listener.update or len(args) < 2 or not all(isinstance(each, Tensor) for each in args[:2]):
        return None
    x, w = args[0], _leaf(args[1])
    if w is None or not w.requires_grad or w.ndim < 2 or not x.is_floating_point():
        return None
    fan_in = x.shape[-1] if w.ndim == 2 else w[0].numel()
    listener.used(w, fan_in)

    def after(out: Tensor) -> None:
        gain = _rms(w) * sqrt(fan_in)
        listener.tell(
            Mapped(**listener.now(), weight=id(w), gain=gain, rms_in=_rms(x), rms_out=_rms(out))
        )

    return after


def _leaf(w: Tensor) -> Tensor | None:
    """Return a weight, or the one of which this is the transposed; None if it is computed."""
    if w.is_leaf:
        return w
    is_transposed = w.grad_fn is not None and autograd_graph.kind(w.grad_fn) in (
        "T",
        "Transpose",
        "Permute",
    )
    base = w._base
    return base if is_transposed and base is not None and base.is_leaf else None


def marked(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After:
    """Have the graph remember where an operation was called."""
    place = here()

    def after(out: Any) -> None:
        if isinstance(out, Tensor):
            autograd_graph.remember(out, place)

    return after


def squashing(name: str) -> Note:
    """Return the note of sigmoid or tanh: where it was called, and how flat it is at first."""

    def note(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> After:
        mark = marked(listener, args, kwargs)

        def after(out: Any) -> None:
            mark(out)
            if listener.update == 0 and out.requires_grad and out.ndim > 1:
                a = out.detach().double()
                slope = 1 - a * a if name == "tanh" else 4 * a * (1 - a)
                saturated = float((slope < FLAT).double().mean())
                listener.tell(Squashed(**listener.now(), name=name, saturated=saturated))

        return after

    return note


def relu(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Note which units of a ReLU are 0 for all samples."""
    z = args[0] if args else None
    if not isinstance(z, Tensor) or not z.requires_grad or z.ndim < 2:
        return
    own = [] if z.grad_fn is None else autograd_graph.own_leaves(z.grad_fn)
    if not own and not listener.in_network:
        return  # the hinge of a loss, which is meant to be 0
    units = 1 if z.ndim > 3 else z.ndim - 1  # of images, channels
    flat = z.detach().movedim(units, -1).flatten(0, -2)
    dead = (flat <= 0).all(0) & (flat < 0).any(0)
    now = listener.now()
    bias, spread = _bias(own, flat, dead)
    listener.tell(
        Rectified(
            **now,
            key=(listener.inside(), now["place"]),
            units=flat.shape[1],
            samples=flat.shape[0],
            dead=frozenset(dead.nonzero().flatten().tolist()),
            bias=bias,
            spread=spread,
        )
    )


def clamp(listener: Listener, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Note a ReLU by another name."""
    if [*args[1:], *kwargs.values()] in ([0], [0.0]) and "max" not in kwargs:
        relu(listener, args, kwargs)


def _bias(own: list[Tensor], flat: Tensor, dead: Tensor) -> tuple[float | None, float | None]:
    """Return the mean bias of dead units, and the spread over samples of what it is added to."""
    found = [leaf for leaf in own if leaf.ndim == 1 and len(leaf) == flat.shape[1]]
    if not found or not dead.any() or len(flat) < 2:
        return None, None
    return float(found[0].detach()[dead].mean()), float(flat[:, dead].std(0).mean())


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())
