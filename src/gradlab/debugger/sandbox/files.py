"""Files that a training is about to overwrite, set aside and put back: a checkpoint above all."""

import builtins
import io
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gradlab.recording.patches import wrap

WRITING = frozenset("wax+")  # modes of `open`
OPENED = ((builtins, "open"), (io, "open"))
SAVED = ((torch, "save"), (torch.serialization, "save"))
TAKEN = ((os, "replace"), (os, "rename"), (os, "remove"), (os, "unlink"))


@contextmanager
def files_kept() -> Generator[None]:
    """Put back every file that is written over, replaced or removed; those that are new stay.

    Only what goes through Python is seen: `open`, `torch.save`, and `os`.
    """
    with TemporaryDirectory(prefix="gradlab-") as folder:
        aside = _Aside(Path(folder))
        with ExitStack() as stack:
            for names, wrapper in (
                (OPENED, aside.opened),
                (SAVED, aside.saved),
                (TAKEN, aside.taken),
            ):
                for owner, name in names:
                    stack.enter_context(wrap(owner, name, wrapper))
            try:
                yield
            finally:
                stack.close()
                aside.put_back()


class _Aside:
    """Copies of files, in a folder that is not the user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copies: dict[Path, Path] = {}

    def opened(self, original: Callable[..., Any], file: Any, mode: str = "r", *a: Any, **k: Any):
        """Open a file, and set it aside if it is to be written."""
        if WRITING & {*mode}:
            self._set_aside(file)
        return original(file, mode, *a, **k)

    def saved(self, original: Callable[..., Any], obj: Any, f: Any, *a: Any, **k: Any) -> None:
        """Save an object, and set aside the file that was there."""
        self._set_aside(f)
        original(obj, f, *a, **k)

    def taken(self, original: Callable[..., Any], *paths: Any, **where: Any) -> None:
        """Move or remove a file, and set it aside, and the one that was in its new place."""
        for path in paths if not any(where.values()) else ():  # relative to a folder that is open
            self._set_aside(path)
        original(*paths, **where)

    def put_back(self) -> None:
        """Put all files back."""
        for path, copy in self.copies.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, path)

    def _set_aside(self, given: Any) -> None:
        if not isinstance(given, str | os.PathLike):
            return  # a stream or a descriptor
        path = Path(os.fspath(given)).resolve()
        if path not in self.copies and path.is_file():
            self.copies[path] = Path(shutil.copy2(path, self.folder / str(len(self.copies))))
