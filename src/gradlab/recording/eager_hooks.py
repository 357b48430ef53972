"""A hook of a module that acts only in eager code."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch._C._functorch import peek_interpreter_stack

HookFunction = Callable[..., Any]


class Hook:
    """A hook that does nothing in compiled or traced code, under `torch.func`, and in copies.

    Args:
        function: Called with the hook's arguments in eager code.
    """

    def __init__(self, function: HookFunction) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """Call the function if tensors have values, as in eager code."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
            return None
        if peek_interpreter_stack():  # inside vmap, grad, ...
            return None
        return self.function(*args)

    def __reduce__(self) -> Any:
        """Replace the hook, in a copy or a pickle, by a standard function that does nothing."""
        return getattr, (nullcontext(), "__exit__")
