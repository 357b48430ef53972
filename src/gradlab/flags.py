"""Hydra's flags: a mistake in them is told in one line rather than by argparse's usage."""

import re
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from gradlab.errors import SettingsError, nearest


def overrides(arguments: Sequence[str]) -> list[str]:
    """Return the overrides among the arguments of `gradlab run`.

    Raises:
        SettingsError: Hydra has no such flag, or the flag no such value.
    """
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
