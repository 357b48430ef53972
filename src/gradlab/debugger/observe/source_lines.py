"""Where in the user's own code something happened."""

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
_OWN = (str(_DEBUGGER), str(_DEBUGGER.parent / "monitor"), patches.__file__)
_CALLERS = tuple(
    str(_DEBUGGER / "targets" / name) for name in ("step.py", "script.py")
)  # of the user's code
_TORCH = str(Path(torch.__file__).parent)
_LIBRARIES = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    @property
    def code(self) -> str:
        """What is written there, or nothing if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        """Return `file:line`, the file as short as it can be given from here."""
        path = Path(self.file)
        here = Path.cwd()
        short = path.relative_to(here) if path.is_relative_to(here) else path
        return f"{short}:{self.line}"


def here() -> Place:
    """Return the innermost line of the user's code that is running now."""
    return _chosen(_places(_frames(sys._getframe(1))))  # pyright: ignore[reportPrivateUsage]


def trail() -> tuple[Place, ...]:
    """Return all lines of the user's code that are running now, the innermost first."""
    return tuple(_places(_frames(sys._getframe(1))))  # pyright: ignore[reportPrivateUsage]


def is_library(file: str) -> bool:
    """Say whether a file is Python's, or was installed."""
    return file.startswith(("<", *_LIBRARIES))


def of_error(error: BaseException) -> Place:
    """Return the innermost line of the user's code that an error passed through."""
    return _chosen(_places(reversed([*_raised(error.__traceback__)])))


def _frames(frame: FrameType | None) -> Iterator[tuple[CodeType, int]]:
    while frame is not None:
        yield frame.f_code, frame.f_lineno
        frame = frame.f_back


def _raised(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


def _places(frames: Iterator[tuple[CodeType, int]]) -> Iterator[Place]:
    """Yield the lines that are neither torch's nor ours, as far out as the call that we made."""
    for code, line in frames:
        if code.co_filename in _CALLERS:
            return
        if not code.co_filename.startswith((*_OWN, _TORCH, "<")):
            yield Place(code.co_filename, line)


def _chosen(places: Iterator[Place]) -> Place:
    """Return the innermost place that is in no library, or else the innermost."""
    found = [*places]
    own = [place for place in found if not is_library(place.file)]
    return next(iter(own or found), Place("?", 0))
