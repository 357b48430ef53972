"""Launches a batch of jobs: plans stacks, trains them, and prints the jobs in their order."""

import logging
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from gradlab.config.choices import Component
from gradlab.config.interrupt import Interrupt, uninterrupted
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.runs import sweep
from gradlab.runs.fused.job import FusedJob, HydraJob, JobLogs, WorkerReport
from gradlab.runs.fused.workers import DeadWorker, choose_workers, distribute, is_worker
from gradlab.runs.members import train_together
from gradlab.runs.run import prepare
from gradlab.runs.sweep_checks import check_owners, check_shared
from gradlab.sinks.progress import SweepProgress
from gradlab.training.plan import plan_stacks

log = logging.getLogger("hydra_plugins.gradlab_fused.launcher")


def launch(
    context: HydraContext,
    config: DictConfig,
    overrides: Sequence[Sequence[str]],
    first: int,
    workers: int | None = None,
) -> Sequence[JobReturn] | None:
    """Run a batch of jobs.

    Args:
        context: Hydra's loader and callbacks.
        config: the configuration of the sweep.
        overrides: the overrides of each job.
        first: the number of the first job.
        workers: the number of processes; None for one per core.

    Returns:
        The result of each job; None if the jobs require Hydra's basic launcher.

    Raises:
        SettingsError: the number of workers is below 1.
        JobError: two jobs share a folder.
        StoreError: a running process writes the folder of a job.
        Interrupted: Ctrl-C or SIGTERM. The files are complete.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    hydra_jobs = [_hydra_job(context, config, each, first + k) for k, each in enumerate(overrides)]
    if any(each.hydra.job.chdir or each.hydra.job.env_set for each in hydra_jobs):
        return None  # these settings change the whole process
    paths = [each.path for each in hydra_jobs]
    check_shared(paths)
    check_owners(paths)
    logs = JobLogs()
    jobs = [FusedJob(first + k, each, logs) for k, each in enumerate(hydra_jobs)]
    workers = choose_workers(workers)
    groups = _group(jobs, workers)
    workers = min(workers, len(groups))
    largest = max(map(len, groups), default=0)
    processes = f", by {workers} processes" if workers > 1 else ""
    log.info("Launching %d jobs locally, %d at most in a stack%s", len(jobs), largest, processes)
    printed = 0
    try:
        for _ in _run_groups(groups, logs, config, workers):
            while printed < len(jobs) and jobs[printed].outcome is not None:
                _print_job(jobs[printed])
                printed += 1
    finally:
        for job in jobs[printed:]:
            if job.outcome is not None:
                _print_job(job)
    return [job.hydra_job.returned for job in jobs]


def _hydra_job(
    context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int
) -> HydraJob:
    """Compose the configuration of a job.

    Args:
        context: Hydra's loader and callbacks.
        config: the configuration of the sweep.
        overrides: the job's overrides.
        number: the job's number.

    Returns:
        The job.
    """
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    return HydraJob(context, sweep.job, composed)


def _group(jobs: Sequence[FusedJob], workers: int) -> list[list[FusedJob]]:
    """Return the jobs of each stack; a job with wrong settings is a group by itself."""
    groups = plan_stacks([job.settings for job in jobs], workers)
    groups += [[k] for k, job in enumerate(jobs) if job.settings is None]
    return [[jobs[k] for k in group] for group in groups]


def _run_groups(
    groups: Sequence[Sequence[FusedJob]], logs: JobLogs, config: DictConfig, workers: int
) -> Generator[None]:
    """Run every group, and yield whenever one has ended.

    Args:
        groups: the jobs of each stack.
        logs: the logs of all jobs.
        config: the configuration of the sweep.
        workers: the number of processes; 1 for this process.

    Yields:
        Nothing.

    Raises:
        Interrupted: a signal.
    """
    if workers > 1:
        yield from _run_in_workers(groups, logs, workers)
        return
    for group in groups:
        interrupt = _run_and_close(group, logs)
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        yield
        if interrupt is not None:
            raise interrupt


def _run_in_workers(
    groups: Sequence[Sequence[FusedJob]], logs: JobLogs, workers: int
) -> Generator[None]:
    """Run every group in a worker process, and yield whenever one has ended.

    Args:
        groups: the jobs of each stack.
        logs: the logs of all jobs.
        workers: the number of processes.

    Yields:
        Nothing.
    """

    def run_group(index: int) -> list[WorkerReport | None]:
        _run_and_close(groups[index], logs)
        return [job.report() for job in groups[index]]

    with SweepProgress(sum(map(len, groups))) as progress:
        for index, reports in distribute(range(len(groups)), run_group, workers):
            group = groups[index]
            if isinstance(reports, DeadWorker):
                reports = [reports] * len(group)
            for job, report in zip(group, reports, strict=True):
                job.receive(report)
            with progress.advance(len(group)):
                yield


def _run_and_close(jobs: Sequence[FusedJob], logs: JobLogs) -> KeyboardInterrupt | None:
    """Train jobs together and close each; return the signal that interrupted them, if any."""
    try:
        _run(jobs, logs)
    except KeyboardInterrupt as error:
        return error
    finally:
        with uninterrupted():
            for job in jobs:
                if job.outcome is not None:
                    job.close()
    return None


def _run(jobs: Sequence[FusedJob], logs: JobLogs) -> None:
    """Train jobs together.

    Raises:
        KeyboardInterrupt: a signal. Every job has an outcome.
    """
    for job in jobs:
        job.open()
    jobs = [job for job in jobs if job.outcome is None]
    if not jobs:
        return
    hydra = jobs[0].hydra_job.config.hydra
    configure_log(hydra.job_logging, hydra.verbose)
    with logs.collecting():
        data = _SharedData()
        try:
            for job in jobs:
                job.prepare(data)
            runs = [job.run for job in jobs if job.run is not None and job.outcome is None]
            with Interrupt() as interrupt:
                if runs and data.dataset is not None:
                    progress = not is_worker()
                    train_together(runs, data.dataset, lambda: interrupt.requested, progress)
                for job in jobs:
                    job.end_with_run()
            interrupt.check()
        except KeyboardInterrupt:
            for job in jobs:
                job.end_with_run()
            raise


class _SharedData:
    """Loads the data of a stack once."""

    def __init__(self) -> None:
        self.dataset: Dataset | None = None
        self._component: Component | None = None

    def __call__(self, settings: Settings) -> Dataset:
        if self._component != settings.data:
            self.dataset, self._component = None, None
        self.dataset = prepare(settings, self.dataset)
        self._component = settings.data
        return self.dataset


def _print_job(job: FusedJob) -> None:
    """Count a job, and print its overrides and its text."""
    assert job.outcome is not None
    if sweep.outcomes is not None:
        sweep.outcomes.jobs.append(job.outcome)
    overrides = " ".join(filter_overrides(job.hydra_job.returned.overrides or []))
    log.info("\t#%d : %s", job.number, overrides)
    sys.stdout.write(job.text)
    sys.stdout.flush()
