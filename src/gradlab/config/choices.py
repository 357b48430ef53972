"""Choices such as `optim=adam`: one YAML file each, and the code that its `_target_` names.

The name of the file is the name of the choice, so a new choice needs no list. The files are in
`conf/` and in the folders that a user adds to Hydra's search path (`user_folders`). If both contain
a name, the file in `conf/` wins, as in Hydra.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from gradlab.errors import GradlabError, SettingsError, first_line, nearest


def locate(path: str) -> Callable[..., Any]:
    """Import the class or function at a dotted path.

    Returns:
        The class or function.

    Raises:
        SettingsError: the path is not a class or function; the message names the nearest name.
    """
    with wrap_errors(f"{path} cannot be imported"):
        first, *rest = path.split(".")
        target: Any = import_module(first)
        parent = first
        for part in rest:
            target = _attribute(target, parent, part)
            parent = f"{parent}.{part}"
    if not callable(target):
        raise SettingsError(
            f"expected a class or a function, but {path} is a {type(target).__name__}"
        )
    return target


@contextmanager
def wrap_errors(problem: str) -> Generator[None]:
    """Raise an error inside the `with` block as a SettingsError: `problem`, then its first line.

    A SystemExit inside the block is an error too, because it must not count as success.

    Raises:
        SettingsError: the block failed. A GradlabError passes unchanged.
    """
    try:
        yield
    except GradlabError:
        raise
    except SystemExit as error:
        raise SettingsError(f"{problem}: it ends the program") from error
    except Exception as error:
        raise SettingsError(f"{problem}: {first_line(error)}") from error


def _attribute(parent: Any, path: str, part: str) -> Any:
    """Return an attribute of a module or class; import a submodule first.

    Args:
        parent: the module or class.
        path: the dotted path of `parent`.
        part: the name of the attribute.

    Returns:
        The attribute.
    """
    if isinstance(parent, ModuleType) and not hasattr(parent, part):
        try:
            import_module(f"{path}.{part}")
        except ModuleNotFoundError as error:
            if error.name != f"{path}.{part}":  # the module exists, but an import inside it fails
                raise
    if not hasattr(parent, part):
        close = get_close_matches(part, dir(parent), n=1)
        hint = f"; did you mean {path}.{close[0]}?" if close else ""
        raise AttributeError(f"{path} has no {part}{hint}")
    return getattr(parent, part)


def conf_dir() -> Path:
    """Return the folder of Hydra configs: in the package in a wheel, next to `src` in a clone."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"


def names(group: str, user_folders: Sequence[Path] = ()) -> list[str]:
    """Return the choices of a group, such as `optim` or `model/activation`, sorted."""
    return sorted(_files(group, user_folders))


def load(group: str, name: str, user_folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the content of a choice's file, without `defaults`.

    Args:
        group: the group, such as `optim` or `model/activation`.
        name: the choice, which is the name of the file without `.yaml`.
        user_folders: folders of the user's choices.

    Returns:
        The keys of the file, among them `_target_` and `name`.

    Raises:
        SettingsError: the group does not have the choice (the message names the nearest), or its
            file lacks a key.
    """
    files = _files(group, user_folders)
    if name not in files:
        key = group.replace("/", ".")
        raise SettingsError(f"{key}={name} is not a choice; {nearest(name, files)}")
    with wrap_errors(f"{files[name]} cannot be read"):
        content = _read(files[name])
    required = () if group == "tracking" else ("name", "_target_", *REQUIRED.get(group, ()))
    for key in required:
        if key not in content:
            raise SettingsError(f"{files[name]}: expected {key}, as in the files of conf/")
    return {key: value for key, value in content.items() if key != "defaults"}


def load_sink(name: str, user_folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the section `name` of the file `tracking/name.yaml`: the settings of one sink.

    Raises:
        SettingsError: the file does not exist (the message names the nearest), or lacks the
            section.
    """
    section = load("tracking", name, user_folders).get(name)
    if not isinstance(section, Mapping) or "_target_" not in section:
        file = _files("tracking", user_folders)[name]
        raise SettingsError(f"{file}: expected the section {name}, with a _target_")
    return dict(section)


REQUIRED = {
    "loss": ("tasks", "scale"),
    "model": ("depth", "width", "activation", "init", "init_gain", "norm", "norm_position"),
}
"""Keys that each file of a group must have, in addition to the keywords of its target."""


def base(name: str = "config") -> dict[str, Any]:
    """Return the keys of `config.yaml` and `name`.yaml, without `defaults` and `hydra`."""
    content = {**_read(conf_dir() / "config.yaml"), **_read(conf_dir() / f"{name}.yaml")}
    return {key: value for key, value in content.items() if key not in ("defaults", "hydra")}


def _files(group: str, user_folders: Sequence[Path]) -> dict[str, Path]:
    folders = [conf_dir(), *user_folders]
    return {file.stem: file for each in reversed(folders) for file in (each / group).glob("*.yaml")}


@cache
def _read(file: Path) -> Mapping[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


@dataclass(frozen=True)
class Component:
    """A choice: its name, the dotted path of its target, and the keywords for the target."""

    name: str
    target: str | None
    params: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.name, self.target))

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the target with the component's keywords; `kwargs` replace them."""
        return locate(self.target or "")(*args, **{**self.params, **kwargs})


def pick(group: str, name: str, user_folders: Sequence[Path] = ()) -> Component:
    """Return a choice as a component. A name with a dot is the dotted path of a class or function.

    Args:
        group: the group, such as `model/activation`.
        name: the choice, or the dotted path.
        user_folders: folders of the user's choices.

    Returns:
        The component.

    Raises:
        SettingsError: the choice does not exist, or the path is not a class or function.
    """
    if "." in name:
        locate(name)
        return Component(name, name, {})
    return component(load(group, name, user_folders))


def component(section: Mapping[str, Any], without: tuple[str, ...] = ()) -> Component:
    """Return the section of a choice as a component, without the keys in `without`."""
    reserved = ("name", "_target_", *without)
    params = {key: value for key, value in section.items() if key not in reserved}
    return Component(section["name"], section["_target_"], params)
