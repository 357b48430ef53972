"""What the jobs of a stack say, kept apart: each one's lines go to its own log, in its own order.

Hydra's logging belongs to one job at a time. While several are at work every record is held, with
the job that it is about; when a job has ended its logging is set up, and takes its records. What
would go to the terminal is kept as text until the jobs before it have been told.
"""

import io
import logging
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import configure_log
from omegaconf import DictConfig


class Said(logging.Handler):
    """Holds the records of each job, by its number."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[int, list[logging.LogRecord]] = defaultdict(list)
        self._about: int | None = None
        self._live: list[logging.Handler] = []

    @contextmanager
    def held(self) -> Generator[None]:
        """Take every record meanwhile; what is about no job goes where it would have gone."""
        root = logging.getLogger()
        self._live, root.handlers = root.handlers, [self]
        try:
            yield
        finally:
            root.handlers = self._live

    @contextmanager
    def about(self, job: int) -> Generator[None]:
        """Take every record meanwhile as one of a job."""
        before, self._about = self._about, job
        try:
            yield
        finally:
            self._about = before

    def emit(self, record: logging.LogRecord) -> None:
        """Hold a record."""
        if self._about is not None:
            self._records[self._about].append(record)
            return
        for handler in self._live:
            if record.levelno >= handler.level:
                handler.handle(record)

    def hand_over(self, job: int, config: DictConfig) -> str:
        """Have a job's own logging take its records; return what is to go to the terminal."""
        hydra: Any = config.hydra
        configure_log(hydra.job_logging, hydra.verbose)
        text = io.StringIO()
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and not _is_file(handler):
                handler.setStream(text)
        for record in self._records.pop(job, []):
            logging.getLogger(record.name).handle(record)
        return text.getvalue()


def _is_file(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.FileHandler)
