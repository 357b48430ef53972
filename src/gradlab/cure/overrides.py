"""Overrides on top of overrides: a remedy takes the place of what it contradicts."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gradlab.config import choices
from gradlab.config.settings import GROUPS
from gradlab.errors import SettingsError, first_line


def replaced(run: Sequence[str], by: Sequence[str], own: Sequence[Path] = ()) -> list[str]:
    """Return the overrides of a run, and `by` after them, without what `by` makes void.

    Hydra refuses a group that is named twice, and a key that the group chosen does not have. So
    a key or group that `by` sets is dropped from `run`; and where `by` chooses of a group anew, so
    are the keys that the choice lacks, and the learning rate, which is another's.

    Args:
        run: overrides as they were typed.
        by: likewise.
        own: folders of choices beside those that ship.

    Raises:
        SettingsError: one is not an override, or names a choice that is not there.
    """
    new = [parsed(each) for each in by]
    named = {each.key_or_group for each in new}
    chosen = {
        group: {*choices.load(group, _value(each), own)} - NOT_KEPT.get(group, set())
        for each in new
        if (group := each.key_or_group) in GROUPS
    }

    def stays(text: str) -> bool:
        key = parsed(text).key_or_group
        group, _, rest = key.partition(".")
        return key not in named and (group not in chosen or not rest or rest in chosen[group])

    return [*filter(stays, run), *by]


NOT_KEPT = {"optim": {"lr"}}
"""What does not pass from one choice of a group to another, though both have it."""


def parsed(text: str) -> Override:
    """Return an override, taken apart.

    Raises:
        SettingsError: it is none.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise SettingsError(f"{text} is not an override: {first_line(error)}") from error


def without(overrides: Sequence[str], group: str) -> list[str]:
    """Return the overrides that do not concern a group."""
    return [each for each in overrides if parsed(each).key_or_group.split(".")[0] != group]


def searching(searched: Sequence[str]) -> list[str]:
    """Return the override that adds folders to Hydra's search path, if there are any."""
    quoted = ",".join(f"'{each}'" for each in searched)
    return [f"hydra.searchpath=[{quoted}]"] if searched else []


def command(overrides: Sequence[str], searched: Sequence[str] = ()) -> str:
    """Return the line that runs `overrides`, as a shell takes it."""
    return shlex.join(["gradlab", "run", *searching(searched), *overrides])


def _value(override: Override) -> str:
    value = override.value()
    return str(getattr(value, "text", value))
