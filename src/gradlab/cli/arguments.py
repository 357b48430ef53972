"""Split the arguments of a command into flags and other arguments."""

import sys
from collections.abc import Sequence

from gradlab.errors import SettingsError, nearest, printable


def split(
    arguments: Sequence[str], flags: Sequence[str] = (), config: str | None = None
) -> tuple[list[str], list[str]]:
    """Return the flags among the arguments, and the other arguments.

    Args:
        arguments: the arguments after the command's name.
        flags: the flags that the command has.
        config: the file in `conf/` that the command composes from overrides; None if it takes none.

    Returns:
        The flags, and the other arguments, each in their order.

    Raises:
        SettingsError: an argument starts with "-" and is not one of `flags`.
    """
    present = [argument for argument in arguments if argument.startswith("-")]
    for flag in present:
        if flag not in flags:
            hint = _as_override(flag, arguments, config) if config else ""
            raise SettingsError(
                f"{flag} is not a flag; {hint or nearest(flag, flags or ['--help'])}"
            )
    return present, [argument for argument in arguments if argument not in present]


def _as_override(flag: str, arguments: Sequence[str], config: str) -> str:
    """Return the override that a flag stands for, as a question.

    Args:
        flag: a flag that the command does not have.
        arguments: the arguments after the command's name.
        config: the file in `conf/` that the command composes.

    Returns:
        A clause such as "did you mean model.depth=10?"; empty if the flag stands for no override.
    """
    from gradlab.config.compose import flag_as_override  # Hydra, which `--help` must not import

    return flag_as_override(flag, arguments, config)


def one_folder(
    command: str, arguments: Sequence[str], flags: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """Return the only folder among the arguments, and the flags.

    Args:
        command: the command's name, for the message.
        arguments: the arguments after the name.
        flags: the flags that the command has.

    Returns:
        The folder, and the flags in their order.

    Raises:
        SettingsError: the arguments contain no folder, several folders or an unknown flag.
    """
    present, folders = split(arguments, flags)
    if len(folders) != 1:
        raise SettingsError(f"expected one folder, given {len(folders)}: gradlab {command} DIR")
    return folders[0], present


def report_damaged(damaged: Sequence[str]) -> None:
    """Print a line on stderr for each damaged file that a command skipped."""
    for line in damaged:
        print(f"left out: {printable(line)}", file=sys.stderr)
