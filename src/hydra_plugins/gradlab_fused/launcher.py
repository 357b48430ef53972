"""What Hydra finds when it looks for plugins: light, for it is imported by every Hydra program."""

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
        workers: processes that train stacks side by side; None for one a core, 1 for this one only.
    """

    _target_: str = "hydra_plugins.gradlab_fused.launcher.FusedLauncher"
    workers: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="fused", node=FusedLauncherConf, provider="gradlab"
)


class FusedLauncher(basic_launcher.BasicLauncher):
    """Runs the jobs of gradlab in stacks, and those of any other program one by one."""

    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.workers = workers

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what is to be launched; compose the configurations of gradlab's jobs faster."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.own = is_own(task_function)
        if self.own:
            from gradlab.runs.fused.fast_compose import quicken

            quicken(hydra_context)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs, and return what came of each, in their order."""
        if self.own:
            from gradlab.runs.fused.launch import launch

            assert self.hydra_context is not None
            assert self.config is not None
            done = launch(
                self.hydra_context, self.config, job_overrides, initial_job_idx, self.workers
            )
            if done is not None:
                return done
        return super().launch(job_overrides, initial_job_idx)


def is_own(task_function: Any) -> bool:
    """Say whether what is launched is `gradlab run`."""
    if getattr(task_function, "__module__", None) != "gradlab.runs.sweep":
        return False
    from gradlab.runs import sweep

    return task_function is sweep.job
