"""A sweep that was cut short: which of its runs are done, and room for those that are not."""

import json
import shutil
from pathlib import Path
from typing import Any

DONE = ("completed", "diverged")
"""Statuses of a run that need not be made again."""
FILES = ("run.json", "layers.parquet", "steps.parquet", "traceback.txt")
"""What a run leaves; `run.json` goes first, for without it the others are no run."""


def done(path: Path, config_hash: str) -> dict[str, Any] | None:
    """Return the `run.json` in a folder, if it is of this configuration and the run is done."""
    info = _read(path)
    if info is None or info.get("config_hash") != config_hash:
        return None
    return info if info.get("status") in DONE else None


def free(path: Path, resume: bool) -> bool:
    """Say whether a run may be written to a folder: no run is there, or one to be made again."""
    if not (path / "run.json").exists():
        return True
    return resume and (_read(path) or {}).get("status") not in DONE


def clear(path: Path) -> None:
    """Remove what a run has left in its folder; the log stays, and so does what Hydra wrote."""
    for name in FILES:
        (path / name).unlink(missing_ok=True)
        for left in path.glob(f".{name}.*.tmp"):
            left.unlink(missing_ok=True)
    for service in ("wandb", "tensorboard"):
        shutil.rmtree(path / service, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Return a folder's `run.json`; None if there is none or it is damaged."""
    try:
        found = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
