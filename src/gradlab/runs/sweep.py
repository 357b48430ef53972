"""Runs `gradlab run`: Hydra composes the configuration of each job, and `job` trains it."""

import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gradlab.config import choices
from gradlab.config.compose import as_settings_error, parse_overrides, search_path_folders
from gradlab.config.interrupt import Interrupt, broken, described, uninterrupted
from gradlab.config.settings import Settings, from_config
from gradlab.errors import GradlabError, JobError, SettingsError, StoreError, is_of_stream
from gradlab.results.files import read_json
from gradlab.results.owner import Owner, living_owner
from gradlab.results.parquet import write_json
from gradlab.runs import job_reports
from gradlab.runs.sweep_checks import RefusedError, check_run, check_sweep, counted_here, listed

if TYPE_CHECKING:
    from gradlab.runs.run import Label

log = logging.getLogger(__name__)
PATIENCE = 5.0  # seconds in which processes end that a launcher has killed


@dataclass(frozen=True)
class JobOutcome:
    """The end of a job. An interrupted job has neither `info` nor `error`.

    Attributes:
        path: its folder.
        info: the content of `run.json`.
        error: why it failed.
    """

    path: Path
    info: Mapping[str, Any] | None = None
    error: GradlabError | None = None

    @property
    def loss(self) -> float:
        """The loss on the test set; NaN if there is none."""
        loss = None if self.info is None else self.info["test"]["loss"]
        return math.nan if loss is None else loss


@dataclass
class JobOutcomes:
    """The outcomes of all jobs of a command.

    Attributes:
        folder: the sweep's folder; None for a single run.
        planned: the number of jobs; None if unknown.
        elsewhere: whether the launcher runs the jobs in other processes.
        interrupt: handles the signals of the command.
        began: date and time of the start.
        jobs: the outcomes, in the order of the jobs' ends.
        owner: the owner of the sweep's folder; None for a single run.
    """

    folder: Path | None = None
    planned: int | None = None
    elsewhere: bool = False
    interrupt: Interrupt | None = None
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    jobs: list[JobOutcome] = field(default_factory=list[JobOutcome])
    owner: Owner | None = None

    @property
    def errors(self) -> list[GradlabError]:
        """The errors of the jobs that failed."""
        return [job.error for job in self.jobs if job.error is not None]

    @property
    def incomplete(self) -> bool:
        """Whether a job was interrupted or did not end."""
        ended = sum(job.info is not None or job.error is not None for job in self.jobs)
        return ended < max(self.planned or 0, len(self.jobs))

    def summary(self) -> list[str]:
        """Return lines: the number of runs by verdict, the failed jobs, and the next command."""
        finished = [job.info for job in self.jobs if job.info is not None]
        verdicts = Counter(info["verdict"] or info["status"] for info in finished)
        counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        plural = "s" * (len(finished) != 1)
        parts = [f"{len(finished)} run{plural}: {counts or 'none finished'}"]
        parts.append(f"{len(self.errors)} failed")
        interrupted = len(self.jobs) - len(finished) - len(self.errors)
        if interrupted:
            parts.append(f"{interrupted} interrupted")
        waiting = (self.planned or 0) - len(self.jobs)
        if waiting > 0:
            parts.append(f"{waiting} did not {'end' if self.elsewhere else 'start'}")
        failed = [f"  {os.path.relpath(job.path)}: {job.error}" for job in self.jobs if job.error]
        report = [f"gradlab report {self.folder}"] if interrupted or finished else []
        return ["; ".join(parts), *failed, *self._others(), *report]

    def _others(self) -> list[str]:
        """Return a line about runs in the folder that this sweep does not have, if there are any.

        Only a sweep whose jobs are known from the start, and have all ended, knows its runs.
        """
        if self.folder is None or self.planned != len(self.jobs):
            return []
        folder, own = self.folder.resolve(), {job.path.resolve() for job in self.jobs}
        found = sorted(file.parent for file in folder.rglob("run.json"))
        others = [str(path.relative_to(folder)) for path in found if path not in own]
        if not others:
            return []
        text = f"{len(others)} runs" if len(others) > 1 else "1 run"
        return [f"{self.folder} also holds {text} of another sweep: {listed(others)}"]


outcomes: JobOutcomes | None = None
"""The outcomes of this process's command. None in a process that another launcher started."""


class Sweep(Callback):
    """Hydra's callback that checks folders, and records the number of jobs, before a command."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the folder of a single run."""
        if outcomes is not None:
            with _refusing():
                check_run(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the jobs; record the folder and the number of jobs."""
        if outcomes is not None:
            with _refusing():
                outcomes.owner, jobs = check_sweep(config)
                outcomes.folder = Path(str(config.hydra.sweep.dir))
                outcomes.planned, outcomes.elsewhere = jobs, not counted_here(config)
                job_reports.clear(outcomes.folder)
                if outcomes.elsewhere and outcomes.interrupt is not None:
                    # An exception here would make the launcher kill its processes in mid-run.
                    outcomes.interrupt.first = partial(job_reports.stop, outcomes.folder)
                    outcomes.interrupt.at_once = False


@contextmanager
def _refusing() -> Generator[None]:
    """Raise errors in a form that Hydra does not turn into warnings."""
    try:
        yield
    except (GradlabError, OmegaConfBaseException) as error:
        raise RefusedError(error) from error


def run(arguments: Sequence[str]) -> int:
    """Run a job or a sweep from Hydra overrides and flags.

    Returns:
        The exit code.

    Raises:
        SettingsError: the configuration is wrong.
        GradlabError: the run, or every run of the sweep, failed.
        Interrupted: Ctrl-C or SIGTERM.
    """
    global outcomes
    outcomes = results = JobOutcomes()
    problem = None
    with Interrupt(at_once=True) as interrupt:
        results.interrupt = interrupt
        try:
            problem = _compose_and_run(arguments)
        except SystemExit as end:  # Hydra printed its help or an error
            return 2 if end.code else 0
        finally:
            outcomes = None
            if results.owner is not None:
                results.owner.release()
            if results.folder is not None and results.elsewhere:
                with uninterrupted():
                    complete_unfinished(results.folder, results.began, interrupt.requested)
                    reports = job_reports.collect(results.folder)
                results.jobs = [_as_outcome(each) for each in reports]
            if results.folder is not None and (results.jobs or problem is None):
                print("\n".join(results.summary()), flush=True)
    interrupt.check()
    errors = results.errors
    if problem is not None and not errors:
        raise problem
    if problem is not None:
        log.error("%s", problem)  # of a sweeper that stopped after the failures
    if errors and len(errors) == len(results.jobs):
        raise min(errors, key=lambda error: error.exit_code)  # a failed run before a wrong setting
    return 1 if errors or (results.elsewhere and results.incomplete) else 0


def _compose_and_run(arguments: Sequence[str]) -> GradlabError | None:
    """Pass the arguments to Hydra; return an error if they are wrong."""
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    overrides: list[str] = []
    try:
        overrides = parse_overrides(arguments)
        sys.argv = [sys.argv[0], *arguments]
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them
        main = hydra.main(
            config_path=str(choices.conf_dir()), config_name="config", version_base="1.3"
        )
        main(job)()
    except GradlabError as error:
        return error
    except RefusedError as refused:
        error = refused.error
        return error if isinstance(error, GradlabError) else as_settings_error(error)
    except Exception as error:  # Hydra's: `job` catches its errors. Hydra raises ValueError too
        if full_error or is_of_stream(error):
            raise
        if outcomes is not None and outcomes.elsewhere and not isinstance(error, HydraException):
            return JobError(f"the launcher failed: {described(error)}")
        return as_settings_error(error, overrides=overrides)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    return None


def job(config: DictConfig) -> float:
    """Run one job and return its loss on the test set, which Hydra's optimising sweepers minimise.

    A failed job is added to `outcomes` and returns NaN: an exception would make Hydra skip the
    remaining batches. In a process of a launcher, which has no `outcomes`, it is written to a file
    in the sweep's folder.

    Returns:
        The loss on the test set; NaN for a failed job.
    """
    context: Any = HydraConfig.get()
    path = Path(context.runtime.output_dir)
    elsewhere = outcomes is None
    if elsewhere and job_reports.is_stopped(Path(str(context.sweep.dir))):
        return math.nan
    try:
        from gradlab.runs import run  # torch is imported here, as late as possible

        settings, label = job_settings(config, context)
        watched = job_reports.interruptible(Path(str(context.sweep.dir)))
        with watched if elsewhere else nullcontext():
            info = finished_before(settings, path) or run.run(settings, path, label)
        outcome = JobOutcome(path, info=info)
    except KeyboardInterrupt:
        log.info("interrupted")
        _report(JobOutcome(path), context)
        if not elsewhere:
            raise
        return math.nan  # after an exception, joblib would kill the other processes in mid-run
    except (Exception, SystemExit) as error:  # SystemExit would end gradlab with code 0
        outcome = JobOutcome(path, error=as_gradlab_error(error, path))
    if outcome.error is not None and context.mode == RunMode.MULTIRUN:
        log.error("failed: %s", outcome.error)
    _report(outcome, context)
    return outcome.loss


def _report(outcome: JobOutcome, context: Any) -> None:
    """Add the end of a job to `outcomes`, or write it to a file in a process of a launcher."""
    if outcomes is not None:
        outcomes.jobs.append(outcome)
        return
    error = outcome.error
    content = {
        "path": str(outcome.path.absolute()),
        "finished": outcome.info is not None,
        "error": None if error is None else str(error),
        "exit_code": None if error is None else error.exit_code,
    }
    with suppress(OSError):  # the job then counts as not ended
        job_reports.write(Path(str(context.sweep.dir)), context.job.num, content)


def _as_outcome(report: Mapping[str, Any]) -> JobOutcome:
    """Return the end of a job in another process, from its report."""
    path, text = Path(report["path"]), report["error"]
    if text is not None:
        error = JobError(text) if report["exit_code"] == JobError.exit_code else SettingsError(text)
        return JobOutcome(path, error=error)
    if not report["finished"]:
        return JobOutcome(path)
    try:
        return JobOutcome(path, info=read_json(path / "run.json"))
    except (OSError, StoreError) as problem:
        return JobOutcome(path, error=JobError(f"its run.json cannot be read: {problem}"))


def complete_unfinished(folder: Path, began: str, interrupted: bool) -> None:
    """Complete `run.json` of the runs of a sweep whose process was killed.

    Args:
        folder: The sweep's folder.
        began: Start of the sweep, in ISO 8601; earlier runs are of another sweep.
        interrupted: Whether a signal ended the sweep.
    """
    result = {"status": "interrupted" if interrupted else "failed"}
    result |= {} if interrupted else {"error": "its process was killed"}
    deadline = time.monotonic() + PATIENCE
    for file in folder.rglob("run.json"):
        with suppress(OSError, StoreError, KeyError, TypeError):
            while living_owner(file.parent) is not None and time.monotonic() < deadline:
                time.sleep(0.05)  # the process is ending
            info = read_json(file)
            is_own = str(info["timings"]["started"]) >= began
            if is_own and info["status"] == "running" and living_owner(file.parent) is None:
                write_json(file, {**info, **result})


def job_settings(config: DictConfig, context: Any) -> "tuple[Settings, Label]":
    """Return the settings and the name of a job, from its configuration and Hydra's section.

    Raises:
        SettingsError: the configuration is wrong.
    """
    from gradlab.runs.run import Label

    folders = search_path_folders(context.runtime.config_sources)
    settings = from_config(_as_dict(config), user_folders=folders)
    swept = context.mode == RunMode.MULTIRUN
    group = "/".join(Path(context.sweep.dir).parts[-2:]) if swept else None
    name = context.job.override_dirname or Path(context.runtime.output_dir).name
    return settings, Label(name, group)


def finished_before(settings: Settings, path: Path) -> dict[str, Any] | None:
    """Return the `run.json` of a job that a resumed sweep does not repeat; else None."""
    from gradlab.results.resume import read_finished

    info = read_finished(path, settings.config_hash) if settings.resume else None
    if info is not None:
        log.info("done before: %s", info["verdict"] or info["status"])
    return info


def as_gradlab_error(error: BaseException, path: Path) -> GradlabError:
    """Return a failed job's exception as an error of gradlab."""
    if isinstance(error, OmegaConfBaseException):
        return as_settings_error(error)
    return error if isinstance(error, GradlabError) else broken(error, path)


def _as_dict(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
