"""Find the lines of the user's code that are running: outside torch and outside gradlab."""

import linecache
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

import torch

_ROOT = Path(__file__).parents[1]
_HIDDEN = (
    *(str(_ROOT / name) for name in ("nonfinite", "monitor", "debugger", "integrations")),
    *(str(_ROOT / "recording" / name) for name in ("patches.py", "eager_hooks.py")),
    str(Path(torch.__file__).parent),
    "<frozen",
)
_LIBRARIES = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})
_INSTALLED = {"site-packages", "dist-packages"}  # also in other environments on `sys.path`
DEEPEST = 8  # lines of a stack that are stored

Place = tuple[str, int]
"""File and number of a line."""


@dataclass(frozen=True)
class CodeLine:
    """A line of a file.

    Attributes:
        file: The path.
        line: The number of the line, from 1.
    """

    file: str
    line: int

    @property
    def code(self) -> str:
        """The text of the line; empty if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        """Return `file:line`, relative to the current folder if the file is inside."""
        path, folder = Path(self.file), Path.cwd()
        short = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
        return f"{short}:{self.line}"


@cache
def is_hidden(file: str) -> bool:
    """Return whether a file belongs to torch, or to the part of gradlab that calls user code."""
    return file.startswith(_HIDDEN)


@cache
def is_library(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    return file.startswith(("<", *_LIBRARIES)) or not _INSTALLED.isdisjoint(Path(file).parts)


def running_places(frame: FrameType | None, end: FrameType | None = None) -> tuple[Place, ...]:
    """Return the running lines outside torch and gradlab, the innermost first.

    Args:
        frame: The frame to begin at.
        end: The frame to stop before; None for the outermost frame.

    Returns:
        At most `DEEPEST` lines.
    """
    places: list[Place] = []
    while frame is not None and frame is not end and len(places) < DEEPEST:
        if not is_hidden(frame.f_code.co_filename):
            places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return tuple(places)


def innermost(places: tuple[Place, ...]) -> CodeLine | None:
    """Return the innermost line outside installed packages, or else the innermost line."""
    outside = [place for place in places if not is_library(place[0])]
    return next((CodeLine(*place) for place in outside or places), None)
