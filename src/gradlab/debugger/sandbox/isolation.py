"""Runs a training without side effects on output, command line, environment and folder."""

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

QUIET = {
    "WANDB_MODE": "disabled",
    "MPLBACKEND": "agg",
}  # W&B logs no run, Matplotlib opens no window


@contextmanager
def isolated(program: str = "") -> Generator[None]:
    """Discard output, logs and warnings; restore the current folder and the environment.

    Args:
        program: the first word of the command line; further words are removed. If it is empty, the
            command line does not change.
    """
    with ExitStack() as stack:
        for each in (
            same_folder(),
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
def same_folder() -> Generator[None]:
    """Restore the current folder, unless it does not exist."""
    folder = ""
    with suppress(FileNotFoundError):
        folder = os.getcwd()
    try:
        yield
    finally:
        if folder:
            os.chdir(folder)
