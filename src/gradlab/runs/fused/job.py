"""One job of a batch, from what it is asked to what came of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import JobError, StoreError
from gradlab.results.resume import done
from gradlab.runs import sweep
from gradlab.runs.fused.hydra_job import Place
from gradlab.runs.fused.job_logs import Said
from gradlab.runs.fused.workers import Lost
from gradlab.runs.outcomes import Job
from gradlab.runs.run import Run

log = logging.getLogger("gradlab.runs.sweep")


@dataclass(frozen=True)
class Ended:
    """What came of a job, and what Hydra is to hear of it."""

    job: Job
    text: str
    task_name: str | None


class Seat:
    """A job that may be trained together with others.

    Attributes:
        number: of the job, in the sweep.
        settings: what it is asked to run; None if that is a mistake.
        run: what trains it, while it has neither failed nor been done before.
        ended: what came of it, in the end.
        text: what it has for the terminal then.
    """

    def __init__(self, number: int, place: Place, said: Said) -> None:
        self.number, self.place, self.said = number, place, said
        self.settings: Settings | None = None
        self.run: Run | None = None
        self.ended: Job | None = None
        self.text = ""
        self._trouble: BaseException | None = None
        try:
            with place.current():
                self.settings, label = sweep.asked(place.task, place.hydra)
            self.run = Run(self.settings, place.path, label, partial(said.about, number))
        except (Exception, SystemExit) as error:
            self._trouble = error

    def open(self) -> None:
        """Make the job's folder."""
        try:
            self.place.open()
        except OSError as error:
            told = StoreError(
                f"{error.filename or self.place.path} cannot be written: {error.strerror}"
            )
            self.end(Job(self.place.path, error=told))

    def begin(self, data: Callable[[Settings], Dataset]) -> None:
        """See what is wrong with the job, or that it was done before; have it ended, if so."""
        if self.ended is not None:
            return
        if self.run is None or self.settings is None:
            assert self._trouble is not None
            self.end(Job(self.place.path, error=sweep.failure(self._trouble, self.place.path)))
            return
        with self.said.about(self.number):
            info = sweep.before(self.settings, self.place.path)
        if info is not None:
            self.end(Job(self.place.path, info=info))
            return
        with self.place.current():
            self.run.attempt(partial(data, self.settings))
        if self.run.error is not None:
            self.settle()

    def settle(self) -> None:
        """Note how the run ended: done, failed, or interrupted."""
        if self.ended is not None:
            return
        run, path = self.run, self.place.path
        assert run is not None
        if run.error is not None:
            self.end(Job(path, error=run.error))
        elif run.info.get("status") in ("completed", "diverged"):
            self.end(Job(path, info=run.info))
        else:
            self.end(Job(path))

    def end(self, ended: Job) -> None:
        """Note what came of the job, and say what is wrong with it."""
        self.ended = ended
        with self.said.about(self.number):
            if ended.error is not None:
                log.error("failed: %s", ended.error)
            elif ended.info is None:
                log.info("interrupted")

    def close(self) -> None:
        """Hand over what the job said and returned."""
        assert self.ended is not None
        try:
            self.text = self.said.hand_over(self.number, self.place.config)
        except (OSError, ValueError):  # of the job's log: there is no folder for it
            self.text = f"failed: {self.ended.error}\n"
        self.place.close(self.ended.loss, self._raised())

    def told(self) -> Ended | None:
        """Return what another process is to know of the job, once it has been closed."""
        if self.ended is None:
            return None
        return Ended(self.ended, self.text, self.place.returned.task_name)

    def hear(self, its: Ended | Lost | None) -> None:
        """Take over what another process, which worked on the job, tells of it."""
        if isinstance(its, Lost):
            self._mourn(its)
        elif its is not None:
            self.ended, self.text = its.job, its.text
            self.place.note(its.job.loss, self._raised(), its.task_name)

    def _mourn(self, lost: Lost) -> None:
        """Find out what has become of a job whose process died, as the system may have it do."""
        info = None if self.settings is None else done(self.place.path, self.settings.config_hash)
        error = JobError(f"its process was ended by {lost.ended}, which gradlab did not send")
        with self.said.held():
            self.end(Job(self.place.path, info=info, error=None if info else error))
        self.close()

    def _raised(self) -> Any:
        """Return the job's error where nobody counts: then Hydra is to hear of it."""
        assert self.ended is not None
        return None if sweep.tally is not None else self.ended.error
