"""Nested containers of tensors and plain values as JSON, with the tensors in a separate table.

| value | JSON |
|---|---|
| None, a bool, an integer, a text, a finite number | the same |
| inf or NaN | `{"float": "inf"}` |
| a tensor | `{"tensor": NAME}`, a name in the table |
| a list, a tuple, a dictionary | `[...]`, `{"tuple": [...]}`, `{"dict": [[key, value], ...]}` |
| a tensor that the step computes, or a parameter | `{"computed": true}` |
| another object | `{"other": CLASS}` |
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gradlab.errors import StoreError

DTYPES = frozenset(
    {
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
        torch.int8, torch.int16, torch.int32, torch.int64,
    }
)  # fmt: skip
"""The dtypes of tensors that are stored."""
HARMLESS = (torch.dtype, torch.device, torch.layout, torch.memory_format, slice, type(...))
"""Classes of arguments that the program gives again with the same value."""
DEEPEST = 40  # containers, one inside another


class Computed:
    """Stands for a tensor that the step computes from its inputs, or for a parameter."""


COMPUTED = Computed()


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that a step received, by reference.

    Attributes:
        value: The tensor, without its graph.
        version: Its version counter when it was stored.
    """

    value: Tensor
    version: int

    @property
    def is_unchanged(self) -> bool:
        """Whether no operation of torch has changed the tensor in place since then."""
        return self.value._version == self.version


@dataclass
class TensorTable:
    """The tensors of a file, each with its name; equal views of one memory have one name.

    Attributes:
        tensors: The tensors, by name.
        not_stored: A clause about each value that could not be stored.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    not_stored: list[str] = field(default_factory=list[str])
    _names: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])

    def encode(self, value: Any, label: str, depth: int = 0) -> Any:
        """Return a value as JSON, and add its tensors.

        Args:
            value: The value.
            label: Its description, for `not_stored`.
            depth: The number of containers around it.
        """
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**63 else self._other(value, label)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, StoredTensor):
            if not value.is_unchanged:
                self.not_stored.append(f"{label} was changed in place after the call")
                return {"other": "Tensor"}
            return self._tensor(value.value, label)
        if isinstance(value, Tensor):
            return self._tensor(value, label)
        if isinstance(value, Computed):
            return {"computed": True}
        if type(value) in (list, tuple, dict) and depth < DEEPEST:
            return self._container(value, label, depth + 1)
        return self._other(value, label)

    def discard(self, known: set[str], notes: int) -> None:
        """Remove the tensors that are not among `known`, and the clauses after the first `notes`.

        Args:
            known: Names of the tensors that remain.
            notes: Number of clauses that remain.
        """
        self.tensors = {name: x for name, x in self.tensors.items() if name in known}
        self._names = {key: name for key, name in self._names.items() if name in known}
        del self.not_stored[notes:]

    def _container(self, value: Any, label: str, depth: int) -> Any:
        if not isinstance(value, dict):
            parts = [self.encode(x, f"{label}[{i}]", depth) for i, x in enumerate(value)]
            return parts if isinstance(value, list) else {"tuple": parts}
        if not all(type(key) in (str, int) for key in value):
            return self._other(value, label)
        return {"dict": [[k, self.encode(v, f"{label}[{k!r}]", depth)] for k, v in value.items()]}

    def _other(self, value: Any, label: str) -> Any:
        if not isinstance(value, HARMLESS):
            self.not_stored.append(f"{label} is of the class {type(value).__name__}")
        return {"other": type(value).__name__}

    def _tensor(self, x: Tensor, label: str) -> Any:
        dense = x.layout == torch.strided and not x.is_quantized and not x.is_meta
        if not dense or x.dtype not in DTYPES:
            self.not_stored.append(f"{label} is a tensor of {x.dtype}, {x.layout}")
            return {"other": "Tensor"}
        key = (x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride(), x.dtype)
        name = self._names.setdefault(key, str(len(self._names)))
        self.tensors.setdefault(name, x)
        return {"tensor": name}


def decode(written: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value of its JSON.

    Args:
        written: What `TensorTable.encode` returned.
        tensors: The table.

    Returns:
        The value, with `COMPUTED` in place of tensors that the step computes and of other objects.

    Raises:
        StoreError: The JSON has another form, or a tensor is missing.
    """

    def value_of(x: Any) -> Any:
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if isinstance(x, list):
            return [value_of(each) for each in x]
        if not isinstance(x, dict) or len(x) != 1:
            raise StoreError("it is damaged: a value has an unknown form")
        ((kind, content),) = x.items()
        read = _KINDS.get(kind)
        try:
            if kind == "tensor":
                return tensors[content]
            if read is None:
                raise KeyError(kind)
            return read(content, value_of)
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"it is damaged: {kind!r:.20} with {content!r:.40}") from None

    return value_of(written)


_KINDS: Mapping[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "float": lambda x, _: float(x),
    "tuple": lambda x, value_of: tuple(value_of(each) for each in x),
    "dict": lambda x, value_of: {key: value_of(each) for key, each in x},
    "computed": lambda x, value_of: COMPUTED,
    "other": lambda x, value_of: COMPUTED,
}
