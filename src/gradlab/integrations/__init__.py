"""Callbacks for training libraries: `lightning` for Lightning, `huggingface` for Hugging Face."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlab.integrations import huggingface as huggingface
    from gradlab.integrations import lightning as lightning

__all__ = ["huggingface", "lightning"]


def __getattr__(name: str) -> ModuleType:
    """Import a callback at its first use, because its library may not be installed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return __all__
