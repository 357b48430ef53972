"""The choices: one YAML file each, under `conf/` or in a folder of the user's own.

The files' names are the valid names, so that adding a choice touches no list. `own` are the folders
that a user has added to Hydra's search path; what ships comes first, as in Hydra.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gradlab.config.imports import blamed
from gradlab.errors import SettingsError, nearest


def conf_dir() -> Path:
    """Return the folder of Hydra configs: in the package in a wheel, beside `src` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"


def names(group: str, own: Sequence[Path] = ()) -> list[str]:
    """Return the choices of a group, such as `optim` or `model/activation`, sorted."""
    return sorted(_files(group, own))


def load(group: str, name: str, own: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the content of the choice's file, `_target_` and `name` included.

    Raises:
        SettingsError: the group has no such choice, and the nearest is named; or its file is wrong.
    """
    files = _files(group, own)
    if name not in files:
        key = group.replace("/", ".")
        raise SettingsError(f"{key}={name} is not a choice; {nearest(name, files)}")
    with blamed(f"{files[name]} cannot be read"):
        content = _read(files[name])
    for key in ("name", "_target_", *NEEDED.get(group, ())):
        if key not in content:
            raise SettingsError(f"{files[name]}: expected {key}, as in a file that ships")
    return dict(content)


NEEDED = {
    "loss": ("tasks", "scale"),
    "model": ("depth", "width", "activation", "init", "init_gain", "norm", "norm_position"),
}
"""What the files of a group must have beside what its target takes."""


def base(name: str = "config") -> dict[str, Any]:
    """Return what `name`.yaml and `config.yaml` set themselves: no defaults list, no `hydra`."""
    content = {**_read(conf_dir() / "config.yaml"), **_read(conf_dir() / f"{name}.yaml")}
    return {key: value for key, value in content.items() if key not in ("defaults", "hydra")}


def _files(group: str, own: Sequence[Path]) -> dict[str, Path]:
    folders = [conf_dir(), *own]
    return {file.stem: file for each in reversed(folders) for file in (each / group).glob("*.yaml")}


@cache
def _read(file: Path) -> Mapping[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
