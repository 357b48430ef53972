"""What Hydra says of a wrong command line, in one line that names the nearest valid choice."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf

from gradlab.config import choices
from gradlab.config.settings import GROUPS
from gradlab.errors import GradlabError, SettingsError, StoreError, first_line, nearest


def as_settings_error(
    error: Exception, name: str = "config", overrides: Sequence[str] = ()
) -> GradlabError:
    """Return what Hydra says of a configuration that it could not compose, as an error of ours."""
    text = str(error)
    key = re.search(r"Could not (?:override|append to|delete.*?) '([^']+)'", text)
    chosen = not_a_choice(overrides)
    if chosen is not None:
        return SettingsError(chosen)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return SettingsError(_missing(str(error.missing_cfg_file), error.options or []))
    if isinstance(error, OSError) and error.filename:  # of the jobs' folders, which Hydra makes
        return StoreError(f"{error.filename} cannot be written: {error.strerror}")
    if key:
        return SettingsError(_unknown(key[1].split("@")[0], name, overrides))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [first_line(error)]
    cause = f": {first_line(error.__cause__)}" if error.__cause__ else ""
    return SettingsError(f"{'; '.join(lines[:2])}{cause}")


def not_a_choice(overrides: Sequence[str]) -> str | None:
    """Say which group, if any, is given what cannot be the name of a choice: null, a number, …."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return None
    for each in parsed:
        group, value = each.key_or_group, each.value()
        if group in (*GROUPS, "experiment") and not each.is_delete() and not _is_name(value):
            return f"{group}={each.get_value_string()}: {nearest('', choices.names(group))}"
    return None


def own_folders(sources: Iterable[Any]) -> list[Path]:
    """Return the folders among the sources of Hydra's search path: also the user's own choices."""
    return [Path(source.path) for source in sources if source.schema == "file"]


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


def _missing(file: str, options: Sequence[str]) -> str:
    group, _, name = file.rpartition("/")
    if group:
        return f"{group}={name} is not a choice; {nearest(name, options)}"
    if name == "config":
        return "config.yaml is not in the search path: add to it by --config-dir, not --config-path"
    return f"{name}.yaml is not in the search path; {nearest(name, ['config'])}"


def _unknown(given: str, name: str, overrides: Sequence[str]) -> str:
    if given == "experiment":
        written = next((each for each in overrides if each.startswith("experiment=")), given)
        return f"{written} adds to the configuration: write +{written}"
    if given.startswith("hydra."):
        content: Any = OmegaConf.to_container(OmegaConf.structured(HydraConf))
        close = get_close_matches(given.removeprefix("hydra."), list(_dotted(content)), n=1)
        hint = f"did you mean hydra.{close[0]}?" if close else "gradlab run --cfg hydra lists them"
        return f"{given} is not a key of Hydra's; {hint}"
    known = known_keys(name)
    if given in known:
        group = given.split(".")[0]
        return f"{given} is not a key of the {group} chosen; it belongs to another"
    return f"{given} is not a key; {nearest(given, known)}"


def _is_name(value: Any) -> bool:
    """Whether a value, each of a list, and each that is swept over could be a choice's name."""
    each = value.list if isinstance(value, ChoiceSweep) else value
    if isinstance(each, list):
        return all(map(_is_name, each))  # pyright: ignore[reportUnknownVariableType]
    return isinstance(each, str | QuotedString | Glob)


def _dotted(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
