"""One watched pass through a model: who is called with what, and whether it can be checked."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from gradlab.errors import CheckError


@dataclass(frozen=True)
class Call:
    """A call of a module, in the order in which calls began; inputs are detached copies."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Observer(TorchFunctionMode):
    """Watches a float64 model: keeps its calls, and raises where it leaves float64 or the finite.

    A context manager. Only what depends on parameters counts: a mask may be of any dtype.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[Call] = []
        self.inside: list[str] = []
        self._hooks = ExitStack()

    def __enter__(self) -> "Observer":
        for name, module in self.model.named_modules():
            for handle in (
                module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True),
                module.register_forward_hook(partial(self._leave, name)),
            ):
                self._hooks.callback(handle.remove)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and see that what it makes of parameters is float64."""
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(out):
            if tensor.requires_grad and tensor.dtype != torch.float64:
                raise CheckError(
                    f"{self.place()} computes in {_name(tensor.dtype)}, by {_said(func)}: finite "
                    f"differences need float64 throughout{self._concerned()}"
                )
        return out

    def place(self) -> str:
        """Return the name of the innermost module that is running, or the model's class."""
        name = self.inside[-1] if self.inside else ""
        return name or type(self.model).__name__

    def _concerned(self) -> str:
        module = self.model.get_submodule(self.inside[-1] if self.inside else "")
        names = [name for name, _ in module.named_parameters()]
        return f"; parameters concerned: {', '.join(names[:4])}" if names else ""

    def _enter(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.inside.append(name)
        self.calls.append(Call(name, module, *_copies((args, kwargs))))

    def _leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        self.inside.pop()
        for tensor in tensors(output):
            if not tensor.isfinite().all():
                place = name or type(module).__name__
                raise CheckError(
                    f"the output of {place} is not finite: there is no gradient to check"
                )


def tensors(tree: Any) -> list[Tensor]:
    """Return the floating-point tensors in any nesting of tuples, lists and dicts."""
    return [v for v in tree_leaves(tree) if isinstance(v, Tensor) and v.is_floating_point()]


def _copies(tree: Any) -> Any:
    return tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, tree)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _said(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", str(func)).strip("_")
