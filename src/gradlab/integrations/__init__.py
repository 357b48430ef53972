"""Callbacks for training libraries: `lightning` and `huggingface`, imported at their first use."""

from importlib import import_module
from typing import Any

__all__ = ["huggingface", "lightning"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
