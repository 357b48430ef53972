"""Read the arguments of a command: its flags, and everything else."""

import sys
from collections.abc import Sequence

from gradlab.errors import SettingsError, nearest


def split(arguments: Sequence[str], flags: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return the flags among the arguments, and the other arguments.

    Raises:
        SettingsError: an argument starts with "-" and is not one of `flags`.
    """
    given = [argument for argument in arguments if argument.startswith("-")]
    for flag in given:
        if flag not in flags:
            raise SettingsError(f"{flag} is not a flag; {nearest(flag, flags or ['--help'])}")
    return given, [argument for argument in arguments if argument not in given]


def one_folder(
    command: str, arguments: Sequence[str], flags: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """Return the folder among the arguments of a command that takes one, and the flags.

    Args:
        command: the command's name, for the message.
        arguments: the arguments after the name.
        flags: the flags that the command has.

    Raises:
        SettingsError: there is no folder or more than one, or a flag is unknown.
    """
    given, folders = split(arguments, flags)
    if len(folders) != 1:
        raise SettingsError(f"expected one folder, given {len(folders)}: gradlab {command} DIR")
    return folders[0], given


def report_damaged(damaged: Sequence[str]) -> None:
    """Print a line on stderr for each damaged file that a command skipped."""
    for line in damaged:
        print(f"left out: {line}", file=sys.stderr)
