"""Destinations of recorded rows: `gradlab.sinks.Parquet`, `WandB`, `TensorBoard`, `Memory`.

`gradlab.watch(..., sinks=...)` and `gradlab run tracking=...` use the same classes. To write to
another destination, define a class with the methods of the protocol `Sink`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.sinks.memory import Memory as Memory
    from gradlab.sinks.protocol import RunInfo as RunInfo
    from gradlab.sinks.protocol import Sink as Sink
    from gradlab.sinks.run_folder import Parquet as Parquet
    from gradlab.sinks.tensorboard import TensorBoard as TensorBoard
    from gradlab.sinks.wandb import WandB as WandB

__all__ = ["Memory", "Parquet", "RunInfo", "Sink", "TensorBoard", "WandB"]

_MODULES = {
    "Memory": "gradlab.sinks.memory",
    "Parquet": "gradlab.sinks.run_folder",
    "RunInfo": "gradlab.sinks.protocol",
    "Sink": "gradlab.sinks.protocol",
    "TensorBoard": "gradlab.sinks.tensorboard",
    "WandB": "gradlab.sinks.wandb",
}


def __getattr__(name: str) -> Any:
    """Import a sink at its first use, so that `import gradlab.sinks` does not import W&B."""
    if name not in _MODULES:
        raise AttributeError(f"module 'gradlab.sinks' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
