"""A batch of jobs: planned, trained stack by stack, and told in the order of the jobs."""

import logging
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from gradlab.config.choices import Component
from gradlab.config.interrupt import Interrupt
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.runs import sweep
from gradlab.runs.fused.hydra_job import Place
from gradlab.runs.fused.job import Ended, Seat
from gradlab.runs.fused.job_logs import Said
from gradlab.runs.fused.workers import Lost, number, share, working
from gradlab.runs.members import train_together
from gradlab.runs.run import prepare
from gradlab.sinks.progress import SweepProgress
from gradlab.training.plan import stacks

log = logging.getLogger("hydra_plugins.gradlab_fused.launcher")


def launch(
    context: HydraContext,
    config: DictConfig,
    overrides: Sequence[Sequence[str]],
    first: int,
    workers: int | None = None,
) -> Sequence[JobReturn] | None:
    """Run a batch of jobs and return what came of each; None if they need Hydra's own launcher.

    Raises:
        SettingsError: there is no such number of workers.
        Interrupted: Ctrl-C or SIGTERM, after the files were completed.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    places = [_place(context, config, each, first + k) for k, each in enumerate(overrides)]
    if any(place.hydra.job.chdir or place.hydra.job.env_set for place in places):
        return None  # each needs the process for itself
    said = Said()
    seats = [Seat(first + k, place, said) for k, place in enumerate(places)]
    parts = _parts(seats, count := number(workers))
    count = min(count, len(parts))
    log.info("Launching %d jobs locally, %s", len(seats), _how(parts, count))
    told = 0
    try:
        for _ in _worked(parts, said, config, count):
            while told < len(seats) and seats[told].ended is not None:
                _tell(seats[told])
                told += 1
    finally:
        for seat in seats[told:]:
            if seat.ended is not None:
                _tell(seat)
    return [seat.place.returned for seat in seats]


def _worked(
    parts: Sequence[Sequence[Seat]], said: Said, config: DictConfig, count: int
) -> Generator[None]:
    """Have every part worked on, by so many processes; yield when one has ended.

    Raises:
        Interrupted: a signal.
    """
    if count > 1:
        yield from _shared(parts, said, count)
        return
    for part in parts:
        interrupt = _work_and_close(part, said)
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        yield
        if interrupt is not None:
            raise interrupt


def _shared(parts: Sequence[Sequence[Seat]], said: Said, count: int) -> Generator[None]:
    def work(index: int) -> list[Ended | None]:
        _work_and_close(parts[index], said)
        return [seat.told() for seat in parts[index]]

    with SweepProgress(sum(map(len, parts))) as progress:
        for index, found in share(range(len(parts)), work, count):
            part = parts[index]
            for seat, its in zip(part, _each(found, len(part)), strict=True):
                seat.hear(its)
            with progress.advance(len(part)):
                yield


def _each(found: Any, jobs: int) -> Sequence[Ended | Lost | None]:
    return [found] * jobs if isinstance(found, Lost) else found


def _place(
    context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int
) -> Place:
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    return Place(context, sweep.job, composed)


def _parts(seats: Sequence[Seat], workers: int) -> list[list[Seat]]:
    """Return the jobs that are worked on at a time; one that cannot be trained is alone."""
    groups = stacks([seat.settings for seat in seats], workers)
    groups += [[k] for k, seat in enumerate(seats) if seat.settings is None]
    return [[seats[k] for k in group] for group in groups]


def _how(parts: Sequence[Sequence[Seat]], workers: int) -> str:
    most = max((len(part) for part in parts), default=0)
    by = f", by {workers} processes" if workers > 1 else ""
    return f"{most} at most in a stack{by}"


def _work_and_close(seats: Sequence[Seat], said: Said) -> KeyboardInterrupt | None:
    """Train some jobs together, and close each; return the signal that ended them, if one did."""
    try:
        _work(seats, said)
    except KeyboardInterrupt as error:
        return error
    finally:
        for seat in seats:
            if seat.ended is not None:
                seat.close()
    return None


def _work(seats: Sequence[Seat], said: Said) -> None:
    """Train some jobs together.

    Raises:
        KeyboardInterrupt: a signal; every job that it has interrupted is noted as such.
    """
    for seat in seats:
        seat.open()
    live = [seat for seat in seats if seat.ended is None]
    if not live:
        return
    configure_log(live[0].place.config.hydra.job_logging, live[0].place.config.hydra.verbose)
    with said.held():
        data = _Data()
        try:
            for seat in live:
                seat.begin(data)
            runs = [seat.run for seat in live if seat.run is not None and seat.ended is None]
            with Interrupt() as interrupt:
                if runs and data.last is not None:
                    train_together(
                        runs, data.last, lambda: interrupt.requested, watched=not working()
                    )
                for seat in live:
                    seat.settle()
            interrupt.check()
        except KeyboardInterrupt:
            for seat in live:
                seat.settle()
            raise


class _Data:
    """Loads what some runs are trained on, once."""

    def __init__(self) -> None:
        self.last: Dataset | None = None
        self._of: Component | None = None

    def __call__(self, settings: Settings) -> Dataset:
        if self._of != settings.data:
            self.last, self._of = None, None
        self.last = prepare(settings, self.last)
        self._of = settings.data
        return self.last


def _tell(seat: Seat) -> None:
    assert seat.ended is not None
    if sweep.tally is not None:
        sweep.tally.jobs.append(seat.ended)
    lines = " ".join(filter_overrides(seat.place.returned.overrides or []))
    log.info("\t#%d : %s", seat.number, lines)
    sys.stdout.write(seat.text)
    sys.stdout.flush()
