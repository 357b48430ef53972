"""`gradlab run`: Hydra composes the configuration of each job, this hands it on and counts up."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gradlab.config import choices
from gradlab.config.compose import as_settings_error, parse_overrides, search_path_folders
from gradlab.config.interrupt import Interrupt, broken
from gradlab.config.settings import Settings, from_config
from gradlab.errors import GradlabError, is_of_stream
from gradlab.runs.outcomes import Job, Tally

if TYPE_CHECKING:
    from gradlab.runs.run import Label

log = logging.getLogger(__name__)

FUSED = "hydra_plugins.gradlab_fused.launcher.FusedLauncher"

tally: Tally | None = None
"""Of the command that runs in this process. None in another, where a launcher sent a job."""


class Sweep(Callback):
    """Tells the tally of a sweep before its first job starts."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note where the jobs will lie, and how many there are."""
        if tally is not None:
            tally.folder, tally.planned = Path(config.hydra.sweep.dir), planned(config)


def run(arguments: Sequence[str]) -> int:
    """Run `arguments`, Hydra overrides and flags, and return the exit code.

    Raises:
        SettingsError: the configuration is wrong.
        GradlabError: the run, or every run of the sweep, failed.
        Interrupted: Ctrl-C or SIGTERM.
    """
    global tally
    tally = count = Tally()
    trouble = None
    with Interrupt(at_once=True):
        try:
            trouble = _compose_and_run(arguments)
        except SystemExit as end:  # how Hydra ends its help, or after a line of its own
            return 2 if end.code else 0
        finally:
            tally = None
            if count.folder is not None and (count.jobs or trouble is None):
                print("\n".join(count.summary()), flush=True)
    failures = count.failures
    if trouble is not None and not failures:
        raise trouble
    if trouble is not None:
        log.error("%s", trouble)  # of a sweeper, which the failures have made stop
    if failures and len(failures) == len(count.jobs):
        raise min(failures, key=lambda error: error.exit_code)  # of a run before a mistake's
    return 1 if failures else 0


def _compose_and_run(arguments: Sequence[str]) -> GradlabError | None:
    """Hand the arguments to Hydra; return what it says of them if they are wrong."""
    asked = os.environ.get("HYDRA_FULL_ERROR")
    overrides: list[str] = []
    try:
        overrides = parse_overrides(arguments)
        sys.argv = [sys.argv[0], *arguments]
        os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise its errors, not print and exit
        main = hydra.main(
            config_path=str(choices.conf_dir()), config_name="config", version_base="1.3"
        )
        main(job)()
    except GradlabError as error:
        return error
    except Exception as error:  # of Hydra: a job keeps its own. Hydra has bare ValueErrors too
        if asked or is_of_stream(error):
            raise
        return as_settings_error(error, overrides=overrides)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked
    return None


def job(config: DictConfig) -> float:
    """Run one job; return its held-out loss, which is what Hydra's optimising sweepers minimise.

    A failure is counted and told at the end, and the loss is then NaN: if Hydra heard of it, it
    would drop the batches that follow. Raised only in another process, from where nothing else
    reaches the command.
    """
    context: Any = HydraConfig.get()
    path = Path(context.runtime.output_dir)
    try:
        settings, label = asked(config, context)
        ended = Job(path, info=before(settings, path) or _run(settings, path, label))
    except KeyboardInterrupt:
        log.info("interrupted")
        if tally is not None:
            tally.jobs.append(Job(path))
        raise
    except (Exception, SystemExit) as error:  # SystemExit would pass for a success
        ended = Job(path, error=failure(error, path))
    if ended.error is not None and context.mode == RunMode.MULTIRUN:
        log.error("failed: %s", ended.error)
    if tally is not None:
        tally.jobs.append(ended)
    elif ended.error is not None:
        raise ended.error
    return ended.loss


def asked(config: DictConfig, context: Any) -> "tuple[Settings, Label]":
    """Return what a job is asked to run, and what it is called, from its configuration and Hydra's.

    Raises:
        SettingsError: the configuration is wrong.
    """
    from gradlab.runs.run import Label

    settings = from_config(
        _plain(config), user_folders=search_path_folders(context.runtime.config_sources)
    )
    swept = context.mode == RunMode.MULTIRUN
    group = "/".join(Path(context.sweep.dir).parts[-2:]) if swept else None
    name = context.job.override_dirname or Path(context.runtime.output_dir).name
    return settings, Label(name, group)


def before(settings: Settings, path: Path) -> dict[str, Any] | None:
    """Return the `run.json` of this very run, if it was done before and is not to be made again."""
    from gradlab.results.resume import done

    info = done(path, settings.config_hash) if settings.resume else None
    if info is not None:
        log.info("done before: %s", info["verdict"] or info["status"])
    return info


def failure(error: BaseException, path: Path) -> GradlabError:
    """Return an error of ours for whatever a job failed with."""
    if isinstance(error, OmegaConfBaseException):
        return as_settings_error(error)
    return error if isinstance(error, GradlabError) else broken(error, path)


def planned(config: DictConfig) -> int | None:
    """Return how many jobs will run here, if Hydra's own sweeper and a launcher we know do it."""
    sweeper = config.hydra.sweeper
    here = config.hydra.launcher.get("_target_") in (FUSED, _path(BasicLauncher))
    if sweeper.get("_target_") != _path(BasicSweeper) or not here:
        return None
    params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    with suppress(HydraException):  # which Hydra will raise itself, in its time
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        task: Any = OmegaConf.to_container(config.hydra.overrides.task)  # nothing resolved
        given = parser.parse_overrides([*params, *task])
        return len(BasicSweeper.split_arguments(given, None)[0])
    return None


def _path(plugin: type) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"


def _run(settings: Settings, path: Path, label: Any) -> dict[str, Any]:
    from gradlab.runs.run import run

    return run(settings, path, label)


def _plain(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
