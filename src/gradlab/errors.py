"""Everything gradlab raises on purpose.

    GradlabError
    ├── SettingsError      the command or the configuration is wrong        (exit code 2)
    ├── StoreError         a folder or file of results cannot be used       (exit code 2)
    ├── CheckError         there is no gradient that could be checked       (exit code 2)
    ├── PredictionError    theory says nothing of what was asked            (exit code 2)
    ├── ExaminationError   there is no training that could be observed      (exit code 2)
    ├── WatchError         a network cannot be watched, or not in this way  (exit code 2)
    └── JobError           a run failed while it was running                (exit code 1)

Each message is one line: what was expected, what was given, and the nearest valid choice.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class GradlabError(Exception):
    """Base class: a message for the user, shown without a traceback."""

    exit_code = 1


class SettingsError(GradlabError):
    """The command or the configuration is wrong."""

    exit_code = 2


class StoreError(GradlabError):
    """A folder or file of results cannot be used."""

    exit_code = 2


class CheckError(GradlabError):
    """There is no gradient that could be checked."""

    exit_code = 2


class PredictionError(GradlabError):
    """Theory says nothing of what was asked."""

    exit_code = 2


class ExaminationError(GradlabError):
    """There is no training that could be observed."""

    exit_code = 2


class WatchError(GradlabError):
    """A network cannot be watched, or not in this way."""

    exit_code = 2


class JobError(GradlabError):
    """A run failed while it was running."""


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return a clause that names the valid choice closest to `given`, or lists them all.

    >>> nearest("sigmiod", ["relu", "sigmoid"])
    'did you mean sigmoid?'
    """
    names = sorted(valid)
    close = get_close_matches(given, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name if it says nothing.

    >>> first_line(MemoryError())
    'MemoryError'
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def is_of_stream(error: BaseException) -> bool:
    """Say whether an error is of writing to the terminal or a pipe: of no file that has a name."""
    return isinstance(error, OSError) and error.errno is not None and error.filename is None
