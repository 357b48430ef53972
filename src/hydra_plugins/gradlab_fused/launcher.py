"""The plugin that Hydra finds. Every Hydra program imports it, so it imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins import basic_launcher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class FusedLauncherConf:
    """The launcher's configuration.

    Attributes:
        workers: number of processes that train stacks; None for one per core, 1 for no further
            process.
    """

    _target_: str = "hydra_plugins.gradlab_fused.launcher.FusedLauncher"
    workers: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="fused", node=FusedLauncherConf, provider="gradlab"
)


class FusedLauncher(basic_launcher.BasicLauncher):
    """Runs the jobs of gradlab in stacks, and the jobs of other programs one by one."""

    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.workers = workers

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepare a sweep; for gradlab's jobs, use a faster loader of configurations.

        Args:
            hydra_context: Hydra's loader and callbacks.
            task_function: the function to launch.
            config: the configuration of the sweep.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.runs_gradlab = is_gradlab_run(task_function)
        if self.runs_gradlab:
            from gradlab.runs.fused.fast_loader import use_fast_loader

            use_fast_loader(hydra_context)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs; return the result of each, in their order."""
        if self.runs_gradlab:
            from gradlab.runs.fused.launch import launch

            assert self.hydra_context is not None
            assert self.config is not None
            results = launch(
                self.hydra_context, self.config, job_overrides, initial_job_idx, self.workers
            )
            if results is not None:
                return results
        return super().launch(job_overrides, initial_job_idx)


def is_gradlab_run(task_function: Any) -> bool:
    """Return whether the program is `gradlab run`."""
    if getattr(task_function, "__module__", None) != "gradlab.runs.sweep":
        return False
    from gradlab.runs import sweep

    return task_function is sweep.job
