"""Runs a training without side effects on output, command line, environment and files."""

import atexit
import builtins
import io
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO
from unittest.mock import patch

import torch

from gradlab.recording.patches import wrap

QUIET = {
    "WANDB_MODE": "disabled",
    "MPLBACKEND": "agg",
}  # W&B logs no run, Matplotlib opens no window
WRITING = frozenset("wax+")  # modes of `open`
OPENED = ((builtins, "open"), (io, "open"))
SAVED = ((torch, "save"), (torch.serialization, "save"))
MOVED = ((os, "replace"), (os, "rename"), (os, "remove"), (os, "unlink"))


@contextmanager
def isolated(program: str = "") -> Generator[None]:
    """Discard output, logs and warnings; restore files, the current folder and the environment.

    Args:
        program: the first word of the command line; further words are removed. If it is empty, the
            command line does not change.
    """
    with ExitStack() as stack:
        for each in (
            restored_files(),
            chdir(Path.cwd()),
            patch.dict(os.environ, QUIET),
            patch.object(sys, "argv", [program] if program else sys.argv),
            patch.object(sys, "path", [*sys.path]),
            warnings.catch_warnings(),
            redirect_stdout(_null_file()),
            redirect_stderr(_null_file()),
        ):
            stack.enter_context(each)
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable()
        yield


@cache
def _null_file() -> TextIO:
    """Return a file that discards its content; it stays open, because a logger may use it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Path(os.devnull).open("w"))


@contextmanager
def restored_files() -> Generator[None]:
    """Restore files that are overwritten, moved or removed inside; new files stay.

    Only calls of `open`, `torch.save` and `os` are observed.
    """
    with TemporaryDirectory(prefix="gradlab-") as folder:
        backup = _Backup(Path(folder))
        with ExitStack() as stack:
            for names, wrapper in (
                (OPENED, backup.open),
                (SAVED, backup.save),
                (MOVED, backup.move),
            ):
                for owner, name in names:
                    stack.enter_context(wrap(owner, name, wrapper))
            try:
                yield
            finally:
                stack.close()
                backup.restore()


class _Backup:
    """Copies of files, in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copies: dict[Path, Path] = {}

    def open(self, original: Callable[..., Any], file: Any, mode: str = "r", *a: Any, **k: Any):
        """Open a file; copy it first if the mode allows writing.

        Args:
            original: `open`.
            file: the path.
            mode: the mode.
            a: further arguments.
            k: further keyword arguments.

        Returns:
            The open file.
        """
        if WRITING & {*mode}:
            self._copy(file)
        return original(file, mode, *a, **k)

    def save(self, original: Callable[..., Any], obj: Any, f: Any, *a: Any, **k: Any) -> None:
        """Save an object; copy an existing file first.

        Args:
            original: `torch.save`.
            obj: the object.
            f: the path or stream.
            a: further arguments.
            k: further keyword arguments.
        """
        self._copy(f)
        original(obj, f, *a, **k)

    def move(self, original: Callable[..., Any], *paths: Any, **where: Any) -> None:
        """Move or remove a file; copy it first, and also an existing file at the new path.

        Args:
            original: the function of `os`.
            paths: the paths.
            where: its keyword arguments.
        """
        for path in paths if not any(where.values()) else ():  # not relative to a descriptor
            self._copy(path)
        original(*paths, **where)

    def restore(self) -> None:
        """Restore all files."""
        for path, copy in self.copies.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, path)

    def _copy(self, file: Any) -> None:
        if not isinstance(file, str | os.PathLike):
            return  # a stream or a descriptor
        path = Path(os.fspath(file)).resolve()
        if path not in self.copies and path.is_file():
            self.copies[path] = Path(shutil.copy2(path, self.folder / str(len(self.copies))))
