"""Single calls of modules: what is kept of one, and the hooks that hear it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Act = Callable[..., Any]


class Hook:
    """A hook that leaves compiled code alone, and that no copy of the module takes along."""

    def __init__(self, act: Act) -> None:
        self.act = act

    def __call__(self, *args: Any) -> Any:
        """Do it, unless the module is being compiled: inside the graph nothing can be seen."""
        if torch.compiler.is_compiling():
            return None
        return self.act(*args)

    def __reduce__(self) -> Any:
        """Become, in a copy or a pickle, what takes any arguments and does nothing."""
        return getattr, (nullcontext(), "__exit__")


@dataclass
class Call:
    """One call of a site: numbers by name (`pool.KNOWN`), and which units are alive."""

    site: int
    output: Any = None
    known: dict[str, Tensor | float] = field(default_factory=dict[str, "Tensor | float"])
    alive_U: Tensor | None = None


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Return every tensor in a module's output: itself, or in tuples, lists and mappings."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_of(list(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors_of(part)
