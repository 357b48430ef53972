"""Trains runs together in one stack; a member that fails does not affect the others.

A single run is a stack with one member.
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
from gradlab.config.interrupt import broken, described, uninterrupted
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import GradlabError, StoreError
from gradlab.recording.rows import Outcome, Rows, RowWriter
from gradlab.sinks.progress import Progress
from gradlab.sinks.protocol import RunInfo
from gradlab.training.loop import Loop
from gradlab.training.stack import build_network

log = logging.getLogger(__name__)

Scope = Callable[[], AbstractContextManager[Any]]


class StackError(Exception):
    """The members cannot be trained in one stack. Each may still train alone."""


class Member(ABC):
    """One run of a stack: receives its rows, and acts before and after the training.

    Args:
        settings: the run's settings.
        path: the run's folder.
        scope: a context manager around everything that concerns only this run.

    Attributes:
        error: why the run failed; None if it did not. A failed run receives nothing more.
    """

    def __init__(self, settings: Settings, path: Path, scope: Scope = nullcontext) -> None:
        self.settings, self.path, self.scope = settings, path, scope
        self.error: GradlabError | None = None

    @abstractmethod
    def open(self, dataset: Dataset, members: int) -> None:
        """Prepare for rows; `members` runs are written at the same time."""

    @abstractmethod
    def record(self, rows: Rows) -> None:
        """Store rows."""

    @abstractmethod
    def complete(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Diagnose the run and complete its files; `test` has its loss and accuracy."""

    @abstractmethod
    def abort(self, status: str, error: str | None = None) -> None:
        """Complete the run's files, if there are any, without a verdict."""

    @abstractmethod
    def close(self) -> None:
        """Release everything except files. Called once for each opened run, also after errors."""

    @abstractmethod
    def reset(self) -> None:
        """Return to the state before `open`."""

    def write(self, rows: Rows) -> None:
        """Record rows, unless the run has failed."""
        self.attempt(lambda: self.record(rows))

    def attempt(self, action: Callable[[], Any]) -> None:
        """Call `action`; an exception sets `error`. A failed run does nothing."""
        if self.error is not None:
            return
        with self.scope():
            try:
                action()
            except GradlabError as error:
                self._fail(error, str(error))
            except (Exception, SystemExit) as error:  # SystemExit would end gradlab with code 0
                self._fail(self.as_gradlab_error(error), described(error), error)

    def as_gradlab_error(self, error: BaseException) -> GradlabError:
        """Write the traceback to a file; return an error that names the file."""
        return broken(error, self.path)

    def _fail(self, error: GradlabError, text: str, cause: BaseException | None = None) -> None:
        """Set the error and complete the files.

        Args:
            error: the error.
            text: the error in one line, for `run.json`.
            cause: the exception behind it.
        """
        error.__cause__ = cause
        self.error = error
        with suppress(OSError):  # a full disk; the rows on disk remain readable
            self.abort("failed", text)


def train_together(
    members: Sequence[Member], dataset: Dataset, stop: Callable[[], bool], progress: bool = True
) -> None:
    """Train members in one stack, or one by one if the stack fails.

    Args:
        members: runs that the planner put into one stack.
        dataset: the data of all of them.
        stop: called after each step; True ends the training.
        progress: whether to show the progress.

    Raises:
        KeyboardInterrupt: a second signal. The files are complete.
    """
    try:
        train(members, dataset, stop, progress)
    except StackError as error:
        log.info("%d networks are trained one by one: %s", len(members), error)
        for member in members:
            member.reset()
            train([member], dataset, stop, progress)


def train(
    members: Sequence[Member], dataset: Dataset, stop: Callable[[], bool], progress: bool = True
) -> None:
    """Train members in one stack. The result or error of each is in the member.

    Args:
        members: runs that the planner put into one stack.
        dataset: the data of all of them.
        stop: called after each step; True ends the training.
        progress: whether to show the progress.

    Raises:
        StackError: several members cannot be trained as one. The caller resets them.
        KeyboardInterrupt: a second signal. The files are complete.
    """
    members, loop, sinks = _build(members, dataset)
    if loop is None:
        return
    bar = Progress()
    try:
        if progress:
            bar.open(RunInfo(steps=loop.steps))
        for member, writers in zip(members, sinks, strict=True):
            member.attempt(partial(member.open, dataset, len(members)))
            writers += [member, bar] if progress else [member]
        _run(members, loop, stop)
    except KeyboardInterrupt:  # a second signal: the first one only ends the loop after a step
        with uninterrupted():
            for member in members:
                with suppress(OSError, StoreError):
                    member.abort("interrupted")
        raise
    finally:
        bar.finish({})
        for member in members:
            with member.scope():
                member.close()


def _run(members: Sequence[Member], loop: Loop, stop: Callable[[], bool]) -> None:
    """Train and complete the members.

    Args:
        members: the runs.
        loop: trains them.
        stop: called after each step; True ends the training.

    Raises:
        StackError: an exception concerns several members.
    """
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
        member.attempt(partial(member.complete, outcome, test))


def _build(
    members: Sequence[Member], dataset: Dataset
) -> tuple[Sequence[Member], Loop | None, list[list[RowWriter]]]:
    """Build the networks and a loop.

    Returns:
        The members whose network can be built; their loop, None if there are none; and a list of
        sinks for each, to be filled.
    """
    networks: list[nn.Module] = []
    for member in members:
        member.attempt(partial(_build_network, member.settings, dataset, networks))
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


def _build_network(settings: Settings, dataset: Dataset, networks: list[nn.Module]) -> None:
    """Append a network.

    Args:
        settings: of the run.
        dataset: its data, which determine inputs and outputs.
        networks: the list to append to.
    """
    networks.append(build_network(settings, dataset, getattr(torch, settings.train.dtype)))


def _raise(error: BaseException) -> None:
    raise error
