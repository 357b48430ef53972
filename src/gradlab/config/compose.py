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
from gradlab.config.ranges import expected_value, nearest_key, same_last_part
from gradlab.config.settings import GROUPS, Settings, from_config
from gradlab.errors import GradlabError, SettingsError, StoreError, first_line, nearest


def compose(name: str, overrides: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """Return the settings of `conf/name.yaml` with `overrides`, and its section `name` as a dict.

    Raises:
        SettingsError: the configuration is wrong.
    """
    try:
        with initialize_config_dir(str(choices.conf_dir()), version_base="1.3"):
            config = hydra_compose(name, list(overrides), return_hydra_config=True)
        user_folders = search_path_folders(config.hydra.runtime.config_sources)
        without_hydra = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
        content: Any = OmegaConf.to_container(without_hydra, resolve=True, throw_on_missing=True)
    except Exception as error:  # Hydra raises HydraException, OmegaConfBaseException and ValueError
        raise as_settings_error(error, name, overrides) from error
    return from_config(content, name, user_folders), content.get(name, {})


def search_path_folders(sources: Iterable[Any]) -> list[Path]:
    """Return the folders in Hydra's search path, which hold the user's choices."""
    return [Path(source.path) for source in sources if source.schema == "file"]


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
        argument = unknown[1]
        if not argument.startswith("-"):
            raise SettingsError(
                f"{argument} is separated from the other overrides: "
                "write all of them after the flags"
            )
        flags = re.findall(r"--[a-z-]+", parser.format_usage())
        hint = flag_as_override(argument, arguments) or nearest(argument, flags)
        raise SettingsError(f"{argument} is not a flag; {hint}")

    parser.error = refuse
    return parser.parse_args(arguments).overrides


def flag_as_override(flag: str, arguments: Sequence[str], name: str = "config") -> str:
    """Return the override that a flag stands for, as a question; empty if it stands for none.

    Args:
        flag: a flag that the command does not have.
        arguments: all arguments of the command.
        name: the file in `conf/` that the command composes.

    Returns:
        The clause; empty if no key has the flag's name.

    Example:
        >>> flag_as_override("--depth", ["--depth", "10"])
        'did you mean model.depth=10?'
    """
    key, _, value = flag.lstrip("-").partition("=")
    if not value:
        following = arguments[list(arguments).index(flag) + 1 :] if flag in arguments else []
        value = next((each for each in following[:1] if "=" not in each), "VALUE")
    known, key = known_keys(name), key.replace("-", "_")
    keys = [key] if key in known else same_last_part(key, known)
    return f"did you mean {' or '.join(f'{each}={value}' for each in keys)}?" if keys else ""


def as_settings_error(
    error: Exception, name: str = "config", overrides: Sequence[str] = ()
) -> GradlabError:
    """Return an error of Hydra as an error of gradlab: one line, with the nearest valid choice.

    Args:
        error: the exception that Hydra raised.
        name: the file in `conf/` that was composed.
        overrides: the overrides on the command line.

    Returns:
        A SettingsError, or a StoreError if Hydra cannot write a folder.
    """
    text = str(error)
    message = invalid_choice(overrides)
    if message is not None:
        return SettingsError(message)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return SettingsError(_missing(str(error.missing_cfg_file), error.options or []))
    if isinstance(error, OSError) and error.filename:  # a folder of a job, which Hydra makes
        return StoreError(f"{error.filename} cannot be written: {error.strerror}")
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several:
        return SettingsError(
            f"{several[1]}: expected one value; to sweep, add -m: gradlab run -m {several[1]}"
        )
    no_value = re.search(r"Error parsing override '([^'=]+)'\n+missing EQUAL", text)
    if no_value:
        return SettingsError(_without_value(no_value[1], name))
    key = re.search(r"Could not (?:override|append to|delete.*?) '([^']+)'", text)
    if key:
        return SettingsError(_unknown(key[1].split("@")[0], name, overrides))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [first_line(error)]
    cause = f": {first_line(error.__cause__)}" if error.__cause__ else ""
    return SettingsError(f"{'; '.join(lines[:2])}{cause}")


def invalid_choice(overrides: Sequence[str]) -> str | None:
    """Return a message if an override gives a group a value that is not a name, such as 3."""
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


def known_keys(name: str = "config") -> set[str]:
    """Return every key of `name`.yaml and of any choice, and the names of the groups."""
    keys = {*GROUPS, "tracking", *_dotted(choices.base(name))}
    for group in (*GROUPS, "tracking"):
        for choice in choices.names(group):
            keys |= _keys_of_choice(group, choice)
    return keys


def _keys_of_choice(group: str, choice: str) -> set[str]:
    hidden = ("._target_", ".name", ".tasks", ".reads")
    content = {group: choices.load(group, choice)}
    return {key for key in _dotted(content) if not key.endswith(hidden)}


def _missing(file: str, options: Sequence[str]) -> str:
    group, _, name = file.rpartition("/")
    if group:
        valid = options or choices.names(group)  # Hydra gives no options for a list of choices
        return f"{group}={name} is not a choice; {nearest(name, valid)}"
    if name == "config":
        return "config.yaml is not in the search path: add to it by --config-dir, not --config-path"
    return f"{name}.yaml is not in the search path; {nearest(name, ['config'])}"


def _without_value(key: str, name: str) -> str:
    """Return the message for an override without "=" and a value."""
    key = key.lstrip("+~")
    valid = choices.names(key.replace(".", "/"))
    if valid:
        return f"{key} has no value; {nearest('', valid)}"
    if key not in known_keys(name):
        return f"{key} is not an override: expected KEY=VALUE; {nearest_key(key, known_keys(name))}"
    rule = expected_value(key)
    return f"{key} has no value: expected {key}=VALUE" + (f", {rule}" if rule else "")


def _unknown(key: str, name: str, overrides: Sequence[str]) -> str:
    """Return the message for a key that Hydra does not find.

    Args:
        key: the key.
        name: the file in `conf/` that was composed.
        overrides: the overrides on the command line.

    Returns:
        A line with the nearest valid key.
    """
    if key == "experiment":
        written = next((each for each in overrides if each.startswith("experiment=")), key)
        return f"{written} adds to the configuration: write +{written}"
    if key.startswith("hydra."):
        content: Any = OmegaConf.to_container(OmegaConf.structured(HydraConf))
        close = get_close_matches(key.removeprefix("hydra."), list(_dotted(content)), n=1)
        hint = f"did you mean hydra.{close[0]}?" if close else "gradlab run --cfg hydra lists them"
        return f"{key} is not a key of Hydra; {hint}"
    known = known_keys(name)
    if key in known:
        group = key.split(".")[0]
        owners = [
            f"{group}={each}"
            for each in choices.names(group)
            if group in GROUPS and key in _keys_of_choice(group, each)
        ]
        hint = f"it belongs to {' and '.join(owners)}" if owners else "it belongs to another"
        return f"{key} is not a key of the chosen {group}; {hint}"
    return f"{key} is not a key; {nearest_key(key, known)}"


def _is_name(value: Any) -> bool:
    """Return whether a value could name a choice; in a list or a sweep, whether all could."""
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
