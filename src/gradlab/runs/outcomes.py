"""What came of the jobs that this process ran, whatever else lies in their folders."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.errors import GradlabError


@dataclass(frozen=True)
class Job:
    """One job, by its folder: its `run.json`, or the error that it failed with, or interrupted."""

    path: Path
    info: Mapping[str, Any] | None = None
    error: GradlabError | None = None

    @property
    def loss(self) -> float:
        """The held-out loss; NaN if there is none."""
        loss = None if self.info is None else self.info["test"]["loss"]
        return math.nan if loss is None else loss


@dataclass
class Tally:
    """The jobs that ended, in order; in a sweep its folder and how many were planned, if known."""

    folder: Path | None = None
    planned: int | None = None
    jobs: list[Job] = field(default_factory=list[Job])

    @property
    def failures(self) -> list[GradlabError]:
        """The errors of those that failed."""
        return [job.error for job in self.jobs if job.error is not None]

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """What is known of those that neither failed nor were interrupted."""
        return [job.info for job in self.jobs if job.info is not None]

    def summary(self) -> list[str]:
        """Say how the jobs of a sweep ended, in lines, and name those that failed."""
        if not self.jobs and not self.planned:  # a launcher sent them to other processes
            return [f"gradlab show {self.folder}"]
        words = Counter(info["verdict"] or info["status"] for info in self.finished)
        counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
        number = len(self.finished)
        ended = [f"{number} run{'s' * (number != 1)}: {counts or 'none finished'}"]
        ended.append(f"{len(self.failures)} failed")
        interrupted = len(self.jobs) - len(self.finished) - len(self.failures)
        if interrupted:
            ended.append(f"{interrupted} interrupted")
        waiting = (self.planned or 0) - len(self.jobs)
        if waiting > 0:
            ended.append(f"{waiting} did not start")
        named = [f"  {os.path.relpath(job.path)}: {job.error}" for job in self.jobs if job.error]
        report = [f"gradlab report {self.folder}"] if interrupted or self.finished else []
        return ["; ".join(ended), *named, *report]
