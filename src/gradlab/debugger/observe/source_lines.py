"""Finds the line of the user's code that causes an event."""

import linecache
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType

import torch

from gradlab.recording import patches

_DEBUGGER = Path(__file__).parents[1]
_GRADLAB = (str(_DEBUGGER), str(_DEBUGGER.parent / "monitor"), patches.__file__)
# This file calls the user's code: frames outside of it are gradlab's.
_CALLER = str(_DEBUGGER / "trainings.py")
_TORCH = str(Path(torch.__file__).parent)
_LIBRARIES = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})
_INSTALLED = {"site-packages", "dist-packages"}  # also in other environments on `sys.path`


@dataclass(frozen=True)
class SourceLine:
    """A line of a file.

    Attributes:
        file: the path.
        line: the number of the line, from 1.
    """

    file: str
    line: int

    @property
    def code(self) -> str:
        """The text of the line, empty if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        """Return `file:line`, relative to the current folder if the file is inside."""
        path = Path(self.file)
        folder = Path.cwd()
        short = path.relative_to(folder) if path.is_relative_to(folder) else path
        return f"{short}:{self.line}"


def current_line() -> SourceLine:
    """Return the innermost running line of the user's code."""
    return _innermost(_user_lines(_frames(sys._getframe(1))))  # pyright: ignore[reportPrivateUsage]


def current_lines() -> tuple[SourceLine, ...]:
    """Return all running lines of the user's code, the innermost first."""
    return tuple(_user_lines(_frames(sys._getframe(1))))  # pyright: ignore[reportPrivateUsage]


def line_of_error(error: BaseException) -> SourceLine:
    """Return the innermost line of the user's code in an error's traceback."""
    return _innermost(_user_lines(reversed([*_traceback_frames(error.__traceback__)])))


def is_library(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    return file.startswith(("<", *_LIBRARIES)) or not _INSTALLED.isdisjoint(Path(file).parts)


def _frames(frame: FrameType | None) -> Iterator[tuple[CodeType, int]]:
    while frame is not None:
        yield frame.f_code, frame.f_lineno
        frame = frame.f_back


def _traceback_frames(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


def _user_lines(frames: Iterator[tuple[CodeType, int]]) -> Iterator[SourceLine]:
    """Yield the lines outside torch and gradlab, from the innermost to the outermost."""
    for code, line in frames:
        if code.co_filename == _CALLER:
            return
        if not code.co_filename.startswith((*_GRADLAB, _TORCH, "<")):
            yield SourceLine(code.co_filename, line)


def _innermost(lines: Iterator[SourceLine]) -> SourceLine:
    """Return the innermost line outside of libraries; if there is none, the innermost line."""
    candidates = [*lines]
    outside = [line for line in candidates if not is_library(line.file)]
    return next(iter(outside or candidates), SourceLine("?", 0))
