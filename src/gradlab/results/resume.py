"""Finds out which runs of a sweep are finished, and removes the files of the others."""

import shutil
from pathlib import Path
from typing import Any

from gradlab.errors import StoreError
from gradlab.results.files import read_json
from gradlab.results.owner import living_owner

DONE = ("completed", "diverged")
"""Statuses of a finished run, which `sweep.resume` does not repeat."""
FILES = ("run.json", "layers.parquet", "steps.parquet", "traceback.txt")
"""The files of a run. `run.json` is removed first: without it a folder counts as empty."""


def read_finished(path: Path, config_hash: str) -> dict[str, Any] | None:
    """Return the `run.json` of a finished run with this configuration; None if there is none."""
    info = _read(path)
    if info is None or info.get("config_hash") != config_hash:
        return None
    return info if info.get("status") in DONE else None


def is_free(path: Path, resume: bool) -> bool:
    """Return whether no process writes a folder, and its run, if any, may be replaced."""
    return living_owner(path) is None and is_replaceable(path, resume)


def is_replaceable(path: Path, resume: bool) -> bool:
    """Return whether a folder has no run, or, with `resume`, an unfinished one."""
    if not (path / "run.json").exists():
        return True
    return resume and (_read(path) or {}).get("status") not in DONE


def describe_occupied(path: Path) -> str:
    """Return why a folder is not free, as the end of a sentence about the folder."""
    owner = living_owner(path)
    return "already holds a run" if owner is None else f"is being written by {owner}"


def remove_files(path: Path) -> None:
    """Remove the files of a run; the log and the files of Hydra stay."""
    for name in FILES:
        (path / name).unlink(missing_ok=True)
        for temporary in path.glob(f".{name}.*.tmp"):
            temporary.unlink(missing_ok=True)
    for service in ("wandb", "tensorboard"):
        shutil.rmtree(path / service, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the `run.json` of a folder; None if it is missing or damaged."""
    try:
        info = read_json(path / "run.json")
    except (FileNotFoundError, StoreError):
        return None
    return info if isinstance(info, dict) else None
