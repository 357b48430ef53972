"""What Hydra says of a wrong command line, in one line that names the nearest valid choice."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from gradlab import choices
from gradlab.errors import SettingsError, nearest
from gradlab.settings import GROUPS


def as_settings_error(
    error: HydraException | OmegaConfBaseException, name: str = "config"
) -> SettingsError:
    """Return what Hydra says of a configuration that it could not compose, as an error of ours."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [str(option) for option in error.options or []]
        return SettingsError(f"{group}={name} is not a choice; {nearest(name, options)}")
    key = re.search(r"Could not (?:override|append to|delete.*?) '([^']+)'", text)
    if key:
        given = key[1].split("@")[0]
        known = known_keys(name)
        if given in known:
            group = given.split(".")[0]
            return SettingsError(
                f"{given} is not a key of the {group} chosen; it belongs to another"
            )
        return SettingsError(f"{given} is not a key; {nearest(given, known)}")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    return SettingsError(f"{'; '.join(lines[:2])}{cause}")


def known_keys(name: str = "config") -> set[str]:
    """Return every key of `name`.yaml and of some choice, and the groups' own names."""
    keys = {*GROUPS, *_dotted(choices.base(name))}
    for group in GROUPS:
        for name in choices.names(group):
            content = {group: choices.load(group, name)}
            keys |= {
                key
                for key in _dotted(content)
                if not key.endswith(("._target_", ".name", ".tasks"))
            }
    return keys


def _dotted(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
