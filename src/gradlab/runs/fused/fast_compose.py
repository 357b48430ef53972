"""The configurations of a sweep's jobs, each composed from that of another with the same choices.

Hydra reads, merges and checks every file again for each job, twice (50 ms each time), although most
jobs differ in plain values only. Here the files are composed once for each set of choices, and the
values are written into a copy by Hydra's own function.
"""

import pickle
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf


def quicken(context: HydraContext) -> None:
    """Have the sweeper and the launcher of a context compose by way of copies."""
    if type(context.config_loader) is ConfigLoaderImpl:
        context.config_loader = Copying(context.config_loader.get_search_path())


class Copying(ConfigLoaderImpl):
    """Hydra's loader; only what it returns for a job of a sweep is come by in another way."""

    def __init__(self, config_search_path: Any) -> None:
        super().__init__(config_search_path)
        self._master: DictConfig | None = None
        self._made: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Return the configuration of a job, as Hydra's own loader does.

        The sweeper asks for each, to see whether it can be composed, and the launcher again: what
        was made for the one is handed to the other.
        """
        made = self._made.pop(tuple(sweep_overrides), None)
        known = self._master is master_config
        # What has a number is another job's, of the same overrides.
        if known and made is not None and OmegaConf.is_missing(made.hydra.job, "num"):
            return made
        made = self._compose(master_config, sweep_overrides)
        self._made[tuple(sweep_overrides)] = made
        return made

    def _compose(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        if self._master is not master_config:
            self._begin(master_config)
        parsed = self._parser.parse_overrides(sweep_overrides)
        if any(each.package is not None or each.is_hydra_override() for each in parsed):
            return super().load_sweep_config(master_config, sweep_overrides)
        choices = [each for each in parsed if self._is_group(each.key_or_group)]
        key = tuple(str(each.input_line) for each in choices)
        if key not in self._bases:
            self._bases[key] = pickle.dumps(super().load_sweep_config(master_config, list(key)))
        config = pickle.loads(self._bases[key])  # a sixth of the time of a deep copy
        self._apply_overrides_to_config([each for each in parsed if each not in choices], config)
        _name(config, parsed)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _begin(self, master: DictConfig) -> None:
        self._master = master
        self._bases: dict[tuple[str, ...], bytes] = {}
        self._groups: dict[str, bool] = {}
        self._parser = OverridesParser.create(config_loader=self)
        _, self._repository = self._parse_overrides_and_create_caching_repo(
            master.hydra.job.config_name, as_given(master.hydra.overrides.hydra)
        )

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = self._repository.group_exists(key)
        return self._groups[key]


def as_given(overrides: Any) -> list[str]:
    """Return overrides as they were given, nothing in them resolved."""
    found: Any = OmegaConf.to_container(overrides)
    return found


def _name(config: DictConfig, parsed: list[Override]) -> None:
    """Note in a configuration what it was composed from, as Hydra does."""
    lines = [each.input_line for each in parsed]
    config.hydra.overrides.task = lines
    named = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        overrides=parsed,
        kv_sep=named.kv_sep,
        item_sep=named.item_sep,
        exclude_keys=named.exclude_keys,
    )
