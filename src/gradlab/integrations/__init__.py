"""Callbacks for training libraries: `lightning` and `huggingface`, imported at their first use."""

from importlib import import_module
from typing import Any

_CALLBACKS = ("huggingface", "lightning")


def __getattr__(name: str) -> Any:
    if name in _CALLBACKS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
