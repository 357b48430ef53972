"""Torch's functions, seen as the user's code or a module calls them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradlab.debugger.observe.events import layers, losses, values
from gradlab.debugger.observe.events.listener import After, Listener, Note

NOTES: dict[str, Note] = {
    **{name: losses.loss(name) for name in losses.LOSSES},
    **dict.fromkeys(("sub", "__sub__", "__rsub__", "rsub", "subtract"), losses.difference),
    "mean": losses.reduction(True),
    "sum": losses.reduction(False),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), layers.linear),
    **dict.fromkeys(("matmul", "__matmul__", "mm"), layers.linear),
    **dict.fromkeys(("softmax", "log_softmax"), layers.marked),
    **{name: layers.squashing(name) for name in ("sigmoid", "tanh")},
    **dict.fromkeys(("relu", "relu_"), layers.relu),
    **dict.fromkeys(("clamp", "clamp_min"), layers.clamp),
    **dict.fromkeys(("log", "log2", "log10"), values.log),
    "log1p": values.log1p,
    **{how: values.cut(how) for how in values.CUTS},
}
# What a note may meet in tensors of an unusual kind (sparse, nested, inside vmap): it is not taken.
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError)
AUGMENTED = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")


class Functions(TorchFunctionMode):
    """Sees every torch function that is called while it is entered."""

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
        after: After | None = None
        if note is not None:
            with suppress(*REFUSALS):
                after = note(self.listener, args, kwargs)
        out = func(*args, **kwargs)
        if after is not None:
            with suppress(*REFUSALS):
                after(out)
        return out


def _note(func: Callable[..., Any]) -> Note | None:
    name = getattr(func, "__name__", "")
    if name in NOTES:
        return NOTES[name]
    if name == "__get__":
        return values.cut("data") if getattr(func, "__self__", None) == Tensor.data else None
    is_changing = name.endswith("_") and not name.startswith("_")
    return values.in_place(name) if is_changing or name in AUGMENTED else None
