"""Flags, Hydra's and ours: a mistake in them is told in one line, not by argparse's usage."""

import re
from collections.abc import Sequence
from typing import NoReturn

from gradlab.errors import SettingsError, nearest


def overrides(arguments: Sequence[str]) -> list[str]:
    """Return the overrides among the arguments of `gradlab run`.

    Raises:
        SettingsError: Hydra has no such flag, or the flag no such value.
    """
    from hydra._internal.utils import get_args_parser  # here, for not every command needs Hydra

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise SettingsError(message)
        given = unknown[1]
        if not given.startswith("-"):
            raise SettingsError(
                f"{given} stands apart: put all overrides together, after the flags"
            )
        flags = re.findall(r"--[a-z-]+", parser.format_usage())
        raise SettingsError(f"{given} is not a flag; {nearest(given, flags)}")

    parser.error = refuse
    return parser.parse_args(arguments).overrides


def split(arguments: Sequence[str], flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags among the arguments, and the overrides.

    Raises:
        SettingsError: a flag is unknown.
    """
    given = [each for each in arguments if each.startswith("-")]
    for each in given:
        if each not in flags:
            raise SettingsError(f"{each} is not a flag; {nearest(each, flags)}")
    return given, [each for each in arguments if each not in given]
