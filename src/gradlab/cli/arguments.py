"""Flags, Hydra's and ours: a mistake in them is told in one line, not by argparse's usage."""

from collections.abc import Sequence

from gradlab.errors import SettingsError, nearest


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
