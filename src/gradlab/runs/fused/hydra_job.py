"""What Hydra does around a job, in two halves, so that several jobs can be between them at once.

`hydra.core.utils.run_job` is both, with the task in the middle.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf._utils import get_omega_conf_dumper

from gradlab.runs.fused.fast_compose import as_given


class Place:
    """One job's configuration, folder and callbacks.

    Attributes:
        path: its folder, absolute.
        task: its configuration without Hydra's own.
        hydra: Hydra's own.
    """

    def __init__(self, context: HydraContext, function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = context, function, config
        before: Any = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        whole: Any = HydraConfig.instance().cfg
        try:
            folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir")))
            folder /= str(OmegaConf.select(config, "hydra.sweep.subdir"))
        finally:
            HydraConfig.instance().cfg = before
        self.path = folder.absolute()
        for runtime in (config.hydra.runtime, whole.hydra.runtime):
            with read_write(runtime), open_dict(runtime):
                runtime.output_dir = str(self.path)
        self.hydra: Any = whole.hydra
        self.returned = JobReturn(
            cfg=without_hydra(config),
            hydra_cfg=whole,
            overrides=as_given(config.hydra.overrides.task),
            working_dir=str(Path.cwd()),
        )

    @property
    def task(self) -> DictConfig:
        """The job's configuration without Hydra's own."""
        assert self.returned.cfg is not None
        return self.returned.cfg

    def open(self) -> None:
        """Make the folder, with `.hydra`, and tell the callbacks.

        Raises:
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.current():
            if self.hydra.output_subdir is not None:
                kept = self.path / self.hydra.output_subdir
                kept.mkdir(parents=True, exist_ok=True)
                _save(self.task, kept / "config.yaml")
                _save(self.returned.hydra_cfg, kept / "hydra.yaml")
                _save(self.config.hydra.overrides.task, kept / "overrides.yaml")
            self.context.callbacks.on_job_start(config=self.config, task_function=self.function)

    def close(self, value: float, error: Exception | None) -> None:
        """Note what the job returned, or failed with, and tell the callbacks."""
        self.note(value, error, JobRuntime.instance().get("name"))
        with self.current():
            self.context.callbacks.on_job_end(config=self.config, job_return=self.returned)

    def note(self, value: float, error: Exception | None, task_name: str | None) -> None:
        """Keep for Hydra what the job returned, or failed with."""
        self.returned.return_value = value if error is None else error
        self.returned.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
        self.returned.task_name = task_name

    @contextmanager
    def current(self) -> Generator[None]:
        """Have `HydraConfig`, and with it the resolver `hydra:`, be this job's meanwhile."""
        instance: Any = HydraConfig.instance()
        before, instance.cfg = instance.cfg, self.returned.hydra_cfg
        try:
            yield
        finally:
            instance.cfg = before


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy of a configuration without Hydra's own section."""
    names = [str(key) for key in config if key != "hydra"]
    copied = OmegaConf.masked_copy(config, names)
    OmegaConf.set_struct(copied, True)
    return copied


def _save(config: Any, file: Path) -> None:
    """Write what `OmegaConf.save` would, in a third of the time: by the C code of yaml."""
    content = OmegaConf.to_container(config, enum_to_str=True)
    text = yaml.dump(
        content, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    file.write_text(text, encoding="utf-8")


@cache
def _dumper() -> Any:
    quick: Any = getattr(yaml, "CDumper", yaml.Dumper)
    as_omegaconf = {"yaml_representers": get_omega_conf_dumper().yaml_representers}
    return type("Dumper", (quick,), as_omegaconf)
