"""A configuration without a run: composed from `conf/`, checked, handed over as settings."""

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from gradlab.config import choices
from gradlab.config.hydra_errors import as_settings_error, own_folders
from gradlab.config.settings import Settings, from_config


def compose(name: str, overrides: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """Return the settings of `conf/name.yaml` with `overrides`, and its own section `name`, plain.

    Raises:
        SettingsError: the configuration is wrong.
    """
    try:
        with initialize_config_dir(str(choices.conf_dir()), version_base="1.3"):
            config = hydra_compose(name, list(overrides), return_hydra_config=True)
        own = own_folders(config.hydra.runtime.config_sources)
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        content: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except Exception as error:  # Hydra has its own, OmegaConf's, and bare ValueErrors
        raise as_settings_error(error, name, overrides) from error
    return from_config(content, name, own), content.get(name, {})
