"""The choices that ship with gradlab: one YAML file each, under `conf/`.

The files' names are the valid names, so that adding a choice touches no list.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gradlab.errors import SettingsError, nearest


def conf_dir() -> Path:
    """Return the folder of Hydra configs: in the package in a wheel, beside `src` in a checkout."""
    package = Path(__file__).resolve().parent
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"


def names(group: str) -> list[str]:
    """Return the choices of a group, such as `optim` or `model/activation`, sorted."""
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def check(group: str, name: str) -> None:
    """Raise SettingsError, naming the nearest choice, unless `name` is a choice of `group`."""
    if name not in names(group):
        key = group.replace("/", ".")
        raise SettingsError(f"{key}={name} is not a choice; {nearest(name, names(group))}")


def load(group: str, name: str) -> dict[str, Any]:
    """Return the content of the choice's file, `_target_` and `name` included.

    Raises:
        SettingsError: the group has no such choice.
    """
    check(group, name)
    return dict(_read(conf_dir() / group / f"{name}.yaml"))


def base(name: str = "config") -> dict[str, Any]:
    """Return what `name`.yaml and `config.yaml` set themselves: no defaults list, no `hydra`."""
    content = {**_read(conf_dir() / "config.yaml"), **_read(conf_dir() / f"{name}.yaml")}
    return {key: value for key, value in content.items() if key not in ("defaults", "hydra")}


@cache
def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))
