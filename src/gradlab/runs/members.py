"""Runs that are trained in one stack: each begins, fails and ends on its own.

One run alone is the same thing with one member.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradlab.config.choices import wrap_errors
from gradlab.config.interrupt import broken, described
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import GradlabError
from gradlab.recording.rows import Outcome, Rows, RowWriter
from gradlab.sinks.progress import Progress
from gradlab.sinks.protocol import RunInfo
from gradlab.training.loop import Loop
from gradlab.training.stack import build_network

log = logging.getLogger(__name__)

Scope = Callable[[], AbstractContextManager[Any]]


class StackError(Exception):
    """Members cannot be trained in one stack; each may still train alone."""


class Member(ABC):
    """One run: a sink that takes its rows, and what is done for it before and after.

    Args:
        settings: of the run.
        path: its folder.
        scope: entered around whatever concerns this run only.

    Attributes:
        error: what it failed with, if it did; nothing more is done for it then.
    """

    def __init__(self, settings: Settings, path: Path, scope: Scope = nullcontext) -> None:
        self.settings, self.path, self.scope = settings, path, scope
        self.error: GradlabError | None = None

    @abstractmethod
    def begin(self, dataset: Dataset, members: int) -> None:
        """Make its folder, one of `members` that are written to at the same time."""

    @abstractmethod
    def take(self, rows: Rows) -> None:
        """Keep some steps."""

    @abstractmethod
    def conclude(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Judge it and complete its files."""

    @abstractmethod
    def stop(self, status: str, error: str | None = None) -> None:
        """Complete its files, if it has any, without a verdict."""

    @abstractmethod
    def end(self) -> None:
        """Let go of what is not a file; called once for each that began, however it ended."""

    @abstractmethod
    def discard(self) -> None:
        """Leave as little as if it had not begun."""

    def write(self, rows: Rows) -> None:
        """Take some steps, unless it has failed."""
        self.attempt(lambda: self.take(rows))

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do what concerns this run only: if it fails, so does the run, and no other."""
        if self.error is not None:
            return
        with self.scope():
            try:
                action()
            except GradlabError as error:
                self._fail(error, str(error))
            except (Exception, SystemExit) as error:  # SystemExit would pass for a success
                self._fail(self.as_error(error), described(error), error)

    def as_error(self, error: BaseException) -> GradlabError:
        """Return the run's error for an exception that is not gradlab's."""
        return broken(error, self.path)

    def _fail(self, told: GradlabError, line: str, cause: BaseException | None = None) -> None:
        told.__cause__ = cause
        self.error = told
        with suppress(OSError):  # of a full disk; what was flushed before still reads
            self.stop("failed", line)


def train_together(
    members: Sequence[Member], dataset: Dataset, stop: Callable[[], bool], watched: bool = True
) -> None:
    """Train members in one stack, or one by one if the stack fails.

    Args:
        members: runs that the planner put into one stack.
        dataset: what all train on.
        stop: is called after each step; True ends the training.
        watched: whether to show the progress.

    Raises:
        KeyboardInterrupt: a second signal, after the files were completed.
    """
    try:
        train(members, dataset, stop, watched)
    except StackError as error:
        log.info("%d networks are trained one by one: %s", len(members), error)
        for member in members:
            member.discard()
            train([member], dataset, stop, watched)


def train(
    members: Sequence[Member], dataset: Dataset, stop: Callable[[], bool], watched: bool = True
) -> None:
    """Train members that can share a stack; leave each one's result or error with it.

    `watched` says whether a person is to see how far they are.

    Raises:
        StackError: several members cannot be trained as one; the caller discards what they began.
        KeyboardInterrupt: a second signal, after the files were completed.
    """
    members, loop, sinks = _built(members, dataset)
    if loop is None:
        return
    progress = Progress()
    try:
        if watched:
            progress.open(RunInfo(steps=loop.steps))
        for member, its in zip(members, sinks, strict=True):
            member.attempt(partial(member.begin, dataset, len(members)))
            its += [member, progress] if watched else [member]
        _run(members, loop, stop)
    except KeyboardInterrupt:  # the second signal: the first is waiting for the step to end
        for member in members:
            member.stop("interrupted")
        raise
    finally:
        progress.finish({})
        for member in members:
            with member.scope():
                member.end()


def _run(members: Sequence[Member], loop: Loop, stop: Callable[[], bool]) -> None:
    if all(member.error for member in members):
        return
    try:
        outcomes = loop.run(lambda: stop() or all(member.error for member in members))
        tests = loop.evaluate()
    except (Exception, SystemExit) as error:
        if len(members) > 1:
            raise StackError(described(error)) from error
        members[0].attempt(partial(_raise, error))
        return
    for member, outcome, test in zip(members, outcomes, tests, strict=True):
        member.attempt(partial(member.conclude, outcome, test))


def _built(
    members: Sequence[Member], dataset: Dataset
) -> tuple[Sequence[Member], Loop | None, list[list[RowWriter]]]:
    """Return those whose networks can be built, which the others have failed with, and a loop."""
    networks: list[nn.Module] = []
    for member in members:
        member.attempt(partial(_build, member.settings, dataset, networks))
    members = [member for member in members if member.error is None]
    sinks: list[list[RowWriter]] = [[] for _ in members]
    try:
        with wrap_errors("the network cannot be built"):
            if not members:
                return [], None, []
            loop = Loop([member.settings for member in members], dataset, sinks, networks)
            if len(members) > 1:
                loop.rehearse()
    except GradlabError as error:
        if len(members) > 1:
            raise StackError(str(error)) from error
        members[0].error = error
        return [], None, []
    return members, loop, sinks


def _build(settings: Settings, dataset: Dataset, networks: list[nn.Module]) -> None:
    networks.append(build_network(settings, dataset, getattr(torch, settings.train.dtype)))


def _raise(error: BaseException) -> None:
    raise error
