"""A training kept apart from the world: its words, its command line, its surroundings."""

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

from gradlab.debugger.sandbox.files import files_kept

QUIET = {"WANDB_MODE": "disabled", "MPLBACKEND": "agg"}  # no run is logged, no window is opened


@contextmanager
def apart(program: str = "") -> Generator[None]:
    """Drop what a training prints, logs and warns of; put back files, folder and environment.

    With the name of a program, the command line is this name alone.
    """
    with ExitStack() as stack:
        for each in (
            files_kept(),
            chdir(Path.cwd()),
            patch.dict(os.environ, QUIET),
            patch.object(sys, "argv", [program] if program else sys.argv),
            patch.object(sys, "path", [*sys.path]),
            warnings.catch_warnings(),
            redirect_stdout(_nowhere()),
            redirect_stderr(_nowhere()),
        ):
            stack.enter_context(each)
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable()
        yield


@cache
def _nowhere() -> TextIO:
    """Return a file for what nobody reads; open to the end, for a logger of theirs may hold it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Path(os.devnull).open("w"))
