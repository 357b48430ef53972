"""Compose a configuration from `conf/` with Hydra, and report Hydra's errors in one line."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf

from gradlab.config import choices
from gradlab.config.settings import GROUPS, Settings, from_config
from gradlab.errors import GradlabError, SettingsError, StoreError, first_line, nearest


def as_settings_error(
    error: Exception, name: str = "config", overrides: Sequence[str] = ()
) -> GradlabError:
    """Return an error of Hydra's as an error of gradlab: one line, with the nearest valid choice.

    Args:
        error: what Hydra raised.
        name: the file in `conf/` that was composed.
        overrides: the overrides on the command line.
    """
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
    """Return a message if an override gives a group a value such as null or 3: not a name."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return None
    for each in parsed:
        group, value = each.key_or_group, each.value()
        if group in (*GROUPS, "tracking", "experiment") and not (
            each.is_delete() or _is_name(value)
        ):
            return f"{group}={each.get_value_string()}: {nearest('', choices.names(group))}"
    return None


def search_path_folders(sources: Iterable[Any]) -> list[Path]:
    """Return the folders in Hydra's search path, which hold the user's choices."""
    return [Path(source.path) for source in sources if source.schema == "file"]


def known_keys(name: str = "config") -> set[str]:
    """Return every key of `name`.yaml and of any choice, and the names of the groups."""
    keys = {*GROUPS, "tracking", *_dotted(choices.base(name))}
    for group in (*GROUPS, "tracking"):
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
        valid = options or choices.names(group)  # of a list of choices, Hydra names no options
        return f"{group}={name} is not a choice; {nearest(name, valid)}"
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
    """Return whether a value could be a choice's name; of a list or a sweep, every element."""
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


def compose(name: str, overrides: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """Return the settings of `conf/name.yaml` with `overrides`, and its section `name` as a dict.

    Raises:
        SettingsError: the configuration is wrong.
    """
    try:
        with initialize_config_dir(str(choices.conf_dir()), version_base="1.3"):
            config = hydra_compose(name, list(overrides), return_hydra_config=True)
        user_folders = search_path_folders(config.hydra.runtime.config_sources)
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        content: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except Exception as error:  # Hydra raises HydraException, OmegaConfBaseException and ValueError
        raise as_settings_error(error, name, overrides) from error
    return from_config(content, name, user_folders), content.get(name, {})


def parse_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the overrides among the arguments of `gradlab run`.

    Raises:
        SettingsError: a flag is not one of Hydra's, or its value is invalid.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise SettingsError(message)
        given = unknown[1]
        if not given.startswith("-"):
            raise SettingsError(
                f"{given} is separated from the other overrides: write all of them after the flags"
            )
        flags = re.findall(r"--[a-z-]+", parser.format_usage())
        raise SettingsError(f"{given} is not a flag; {nearest(given, flags)}")

    parser.error = refuse
    return parser.parse_args(arguments).overrides
