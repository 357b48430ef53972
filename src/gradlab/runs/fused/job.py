"""One job of a fused sweep: Hydra's configuration, folder and callbacks, its log, and its run.

`hydra.core.utils.run_job` does this for one job at a time. Here `open` and `close` are separate, so
that the jobs of a stack train in between.
"""

import io
import logging
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf._utils import get_omega_conf_dumper

from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import JobError, StoreError
from gradlab.results.resume import read_finished
from gradlab.runs import sweep
from gradlab.runs.fused.fast_loader import unresolved
from gradlab.runs.fused.workers import DeadWorker
from gradlab.runs.run import FolderRun
from gradlab.runs.sweep import JobOutcome
from gradlab.runs.sweep_checks import job_folder

log = logging.getLogger("gradlab.runs.sweep")


class HydraJob:
    """A job's configuration, folder and callbacks.

    Args:
        context: Hydra's loader and callbacks.
        function: the function that Hydra launches.
        config: the job's configuration with Hydra's section.

    Attributes:
        path: the job's folder, absolute.
        hydra: Hydra's section of the configuration.
        returned: the result that Hydra's sweeper receives.
    """

    def __init__(self, context: HydraContext, function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = context, function, config
        before: Any = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        whole: Any = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = before
        self.path = job_folder(config).absolute()
        for runtime in (config.hydra.runtime, whole.hydra.runtime):
            with read_write(runtime), open_dict(runtime):
                runtime.output_dir = str(self.path)
        self.hydra: Any = whole.hydra
        self.returned = JobReturn(
            cfg=_without_hydra(config),
            hydra_cfg=whole,
            overrides=unresolved(config.hydra.overrides.task),
            working_dir=str(Path.cwd()),
        )

    @property
    def task(self) -> DictConfig:
        """The job's configuration without Hydra's section."""
        assert self.returned.cfg is not None
        return self.returned.cfg

    def open(self) -> None:
        """Make the folder, with `.hydra`, and call the callbacks.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.current():
            if self.hydra.output_subdir is not None:
                folder = self.path / self.hydra.output_subdir
                folder.mkdir(parents=True, exist_ok=True)
                _save(self.task, folder / "config.yaml")
                _save(self.returned.hydra_cfg, folder / "hydra.yaml")
                _save(self.config.hydra.overrides.task, folder / "overrides.yaml")
            self.context.callbacks.on_job_start(config=self.config, task_function=self.function)

    def close(self, value: float, error: Exception | None) -> None:
        """Set the result and call the callbacks."""
        self.set_result(value, error, JobRuntime.instance().get("name"))
        with self.current():
            self.context.callbacks.on_job_end(config=self.config, job_return=self.returned)

    def set_result(self, value: float, error: Exception | None, task_name: str | None) -> None:
        """Set the result that Hydra's sweeper receives.

        Args:
            value: the loss on the test set.
            error: the exception to raise in the sweeper instead.
            task_name: Hydra's name of the program.
        """
        self.returned.return_value = value if error is None else error
        self.returned.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
        self.returned.task_name = task_name

    @contextmanager
    def current(self) -> Generator[None]:
        """Make `HydraConfig` and the resolver `hydra:` return this job's configuration."""
        instance: Any = HydraConfig.instance()
        before, instance.cfg = instance.cfg, self.returned.hydra_cfg
        try:
            yield
        finally:
            instance.cfg = before


def _without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy of a configuration without Hydra's section."""
    names = [str(key) for key in config if key != "hydra"]
    copied = OmegaConf.masked_copy(config, names)
    OmegaConf.set_struct(copied, True)
    return copied


def _save(config: Any, file: Path) -> None:
    """Write the same text as `OmegaConf.save` in a third of the time: with yaml's C code."""
    content = OmegaConf.to_container(config, enum_to_str=True)
    text = yaml.dump(
        content, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    file.write_text(text, encoding="utf-8")


@cache
def _dumper() -> Any:
    fast: Any = getattr(yaml, "CDumper", yaml.Dumper)
    representers = {"yaml_representers": get_omega_conf_dumper().yaml_representers}
    return type("Dumper", (fast,), representers)


class JobLogs(logging.Handler):
    """Collects the log records of the jobs of a stack, by job.

    Hydra's logging belongs to one job at a time. So the records wait here until the job ends. Then
    they go to the job's log, and its text for the terminal waits for the jobs before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[int, list[logging.LogRecord]] = defaultdict(list)
        self._job: int | None = None
        self._handlers: list[logging.Handler] = []

    @contextmanager
    def collecting(self) -> Generator[None]:
        """Collect the records of jobs; other records go to the usual handlers."""
        root = logging.getLogger()
        self._handlers, root.handlers = root.handlers, [self]
        try:
            yield
        finally:
            root.handlers = self._handlers

    @contextmanager
    def of_job(self, number: int) -> Generator[None]:
        """Assign all records to one job."""
        before, self._job = self._job, number
        try:
            yield
        finally:
            self._job = before

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a record, or pass it on if it belongs to no job."""
        if self._job is not None:
            self._records[self._job].append(record)
            return
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def write_job(self, number: int, config: DictConfig) -> str:
        """Write a job's records to its log; return the text for the terminal."""
        hydra: Any = config.hydra
        configure_log(hydra.job_logging, hydra.verbose)
        text = io.StringIO()
        for handler in logging.getLogger().handlers:
            is_file = isinstance(handler, logging.FileHandler)
            if isinstance(handler, logging.StreamHandler) and not is_file:
                handler.setStream(text)
        for record in self._records.pop(number, []):
            logging.getLogger(record.name).handle(record)
        return text.getvalue()


@dataclass(frozen=True)
class WorkerReport:
    """What a worker process sends about a finished job.

    Attributes:
        outcome: the job's outcome.
        text: its text for the terminal.
        task_name: Hydra's name of the program.
    """

    outcome: JobOutcome
    text: str
    task_name: str | None


class FusedJob:
    """A job that may be trained together with others.

    Args:
        number: the job's number in the sweep.
        hydra_job: its configuration, folder and callbacks.
        logs: the logs of all jobs.

    Attributes:
        settings: the job's settings; None if they are wrong.
        run: its run; None if the settings are wrong.
        outcome: the outcome; None until the job ends.
        text: the text for the terminal.
    """

    def __init__(self, number: int, hydra_job: HydraJob, logs: JobLogs) -> None:
        self.number, self.hydra_job, self.logs = number, hydra_job, logs
        self.settings: Settings | None = None
        self.run: FolderRun | None = None
        self.outcome: JobOutcome | None = None
        self.text = ""
        self._settings_error: BaseException | None = None
        try:
            with hydra_job.current():
                self.settings, label = sweep.job_settings(hydra_job.task, hydra_job.hydra)
            scope = partial(logs.of_job, number)
            self.run = FolderRun(self.settings, hydra_job.path, label, scope)
        except (Exception, SystemExit) as error:
            self._settings_error = error

    @property
    def path(self) -> Path:
        """The job's folder."""
        return self.hydra_job.path

    def open(self) -> None:
        """Make the job's folder."""
        try:
            self.hydra_job.open()
        except OSError as error:
            file = error.filename or self.path
            failure = StoreError(f"{file} cannot be written: {error.strerror}")
            self.end(JobOutcome(self.path, error=failure))

    def prepare(self, prepare_data: Callable[[Settings], Dataset]) -> None:
        """End the job if its settings or data are wrong, or if it was finished before."""
        if self.outcome is not None:
            return
        if self.run is None or self.settings is None:
            assert self._settings_error is not None
            failure = sweep.as_gradlab_error(self._settings_error, self.path)
            self.end(JobOutcome(self.path, error=failure))
            return
        with self.logs.of_job(self.number):
            info = sweep.finished_before(self.settings, self.path)
        if info is not None:
            self.end(JobOutcome(self.path, info=info))
            return
        with self.hydra_job.current():
            self.run.attempt(partial(prepare_data, self.settings))
        if self.run.error is not None:
            self.end_with_run()

    def end_with_run(self) -> None:
        """Set the outcome from the run: finished, failed or interrupted."""
        if self.outcome is not None:
            return
        run = self.run
        assert run is not None
        if run.error is not None:
            self.end(JobOutcome(self.path, error=run.error))
        elif run.info.get("status") in ("completed", "diverged"):
            self.end(JobOutcome(self.path, info=run.info))
        else:
            self.end(JobOutcome(self.path))

    def end(self, outcome: JobOutcome) -> None:
        """Set the outcome, and log a failure or an interrupt."""
        self.outcome = outcome
        with self.logs.of_job(self.number):
            if outcome.error is not None:
                log.error("failed: %s", outcome.error)
            elif outcome.info is None:
                log.info("interrupted")

    def close(self) -> None:
        """Write the job's log and pass its result to Hydra."""
        assert self.outcome is not None
        try:
            self.text = self.logs.write_job(self.number, self.hydra_job.config)
        except (OSError, ValueError):  # the job has no folder, so its log cannot be opened
            self.text = f"failed: {self.outcome.error}\n"
        self.hydra_job.close(self.outcome.loss, self._error_for_hydra())

    def report(self) -> WorkerReport | None:
        """Return what the main process must know about a closed job; None if it did not end."""
        if self.outcome is None:
            return None
        return WorkerReport(self.outcome, self.text, self.hydra_job.returned.task_name)

    def receive(self, report: WorkerReport | DeadWorker | None) -> None:
        """Take over the outcome from the worker process that ran the job."""
        if isinstance(report, DeadWorker):
            self._end_with_dead_worker(report)
        elif report is not None:
            self.outcome, self.text = report.outcome, report.text
            error = self._error_for_hydra()
            self.hydra_job.set_result(report.outcome.loss, error, report.task_name)

    def _end_with_dead_worker(self, worker: DeadWorker) -> None:
        """Set the outcome of a job whose process was killed; its run may be complete on disk."""
        info = (
            None if self.settings is None else read_finished(self.path, self.settings.config_hash)
        )
        error = JobError(f"its process was ended by {worker.cause}, which gradlab did not send")
        with self.logs.collecting():
            self.end(JobOutcome(self.path, info=info, error=None if info else error))
        self.close()

    def _error_for_hydra(self) -> Any:
        """Return the job's error where `sweep.outcomes` does not report it."""
        assert self.outcome is not None
        return None if sweep.outcomes is not None else self.outcome.error
