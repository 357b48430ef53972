"""Single calls of modules: what is kept of one, and the hooks that hear it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

Act = Callable[..., Any]


class Hook:
    """A hook that leaves code alone which is not simply run, and that no copy takes along."""

    def __init__(self, act: Act) -> None:
        self.act = act

    def __call__(self, *args: Any) -> Any:
        """Do it, unless the module is compiled, traced or transformed: it has no numbers then."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
            return None
        if peek_interpreter_stack():  # of vmap, grad, ...: it is None outside of them
            return None
        return self.act(*args)

    def __reduce__(self) -> Any:
        """Become, in a copy or a pickle, what takes any arguments and does nothing."""
        return getattr, (nullcontext(), "__exit__")


@dataclass
class Call:
    """One call of a site: numbers by name (`pool.KNOWN`), and which units are alive.

    `scale` is what its loss was multiplied by; None if it was not.
    """

    site: int
    output: Any = None
    known: dict[str, Tensor | float] = field(default_factory=dict[str, "Tensor | float"])
    alive_U: Tensor | None = None
    scale: Tensor | None = None


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Return every tensor in a module's output: itself, in tuples, lists, mappings, dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_of(list(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors_of(part)
    elif is_dataclass(output):
        yield from tensors_of([getattr(output, each.name) for each in fields(output)])


def is_heard(x: Any) -> TypeGuard[Tensor]:
    """Say whether something is a tensor with a gradient, dense and whole: one that has a norm."""
    if not isinstance(x, Tensor) or not x.requires_grad or x.layout != torch.strided:
        return False
    return not x.is_nested and not hasattr(x, "full_tensor") and x.numel() > 0
