"""The errors that gradlab raises.

    GradlabError
    ├── SettingsError      the command or the configuration is wrong        (exit code 2)
    ├── StoreError         a folder or file of results cannot be used       (exit code 2)
    ├── CheckError         the function has no gradient to check            (exit code 2)
    ├── PredictionError    theory does not cover the network                (exit code 2)
    ├── ExaminationError   the program does not train, or cannot be run     (exit code 2)
    ├── WatchError         the network or an argument cannot be watched     (exit code 2)
    └── JobError           a run failed                                     (exit code 1)

A message is one line. It names the problem with its value, the expected value, and the next action.
"""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


class GradlabError(Exception):
    """Base class: its message is shown to the user without a traceback."""

    exit_code = 1


class SettingsError(GradlabError):
    """The command or the configuration is wrong."""

    exit_code = 2


class StoreError(GradlabError):
    """A folder or file of results cannot be used."""

    exit_code = 2


class CheckError(GradlabError):
    """The function has no gradient to check."""

    exit_code = 2


class PredictionError(GradlabError):
    """Theory does not cover the network."""

    exit_code = 2


class ExaminationError(GradlabError):
    """The program does not train, or cannot be run."""

    exit_code = 2


class WatchError(GradlabError):
    """The network or an argument of `watch` cannot be watched."""

    exit_code = 2


class JobError(GradlabError):
    """A run failed."""


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return a clause that names the valid choice closest to `given`, or lists all choices.

    >>> nearest("sigmiod", ["relu", "sigmoid"])
    'did you mean sigmoid?'
    """
    names = sorted(valid)
    close = get_close_matches(given, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if the message is empty.

    >>> first_line(MemoryError())
    'MemoryError'
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def printable(text: str) -> str:
    r"""Return a text whose control characters are replaced by their escapes.

    Names and texts in a folder of runs could otherwise change the colours or the title of a
    terminal, or hide the end of a line. A newline is replaced too.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        each if unicodedata.category(each) not in _CONTROL else _escape(each) for each in text
    )


_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that are invisible but have an effect, and parts of characters."""
_JOINERS = "\u200c\u200d"  # in words of some languages, and in emoji


def _escape(character: str) -> str:
    if character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def is_of_stream(error: BaseException) -> bool:
    """Return whether the terminal or a pipe caused an error, and not a named file."""
    return isinstance(error, OSError) and error.errno is not None and error.filename is None
