"""Runs the examined program, inside the sandbox: observes its training, or makes an experiment."""

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

import torch

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.entry_point import examine_target, repeat_target
from gradlab.debugger.observe.module_calls import Intervention
from gradlab.debugger.observe.source_lines import current_line
from gradlab.debugger.trainings import ExperimentError, ExperimentResult, StepTraining, Training
from gradlab.errors import ExaminationError, GradlabError, first_line

CONNECTION = 3  # the descriptor of the connection to the server
Message = dict[str, Any]


def main() -> NoReturn:
    """Answer the request of the server, and end this process."""
    server = Connection()
    try:
        request = server.receive()
        sys.stdin = EmptyInput(server)
        for name in ("rename", "replace"):
            setattr(os, name, partial(_rename, getattr(os, name)))
        try:
            answer = _answer(request, server)
        except GradlabError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        except BaseException as error:  # of the doctor, or a KeyboardInterrupt of the program
            text = f"the examination failed: {type(error).__name__}: {first_line(error)}"
            answer = {"error": text, "kind": "ExaminationError"}
        server.send(answer)
    finally:
        os._exit(0)  # without the functions that the program has registered for its end


def preload() -> None:
    """Import the parts of torch that the observation uses: once, for all runs."""
    with torch.compiler.set_stance("force_eager"):
        pass


def _rename(original: Callable[..., None], src: Any, dst: Any, **folders: Any) -> None:
    """Rename a file or a folder.

    In a user namespace, the kernel cannot rename a folder of the lower layer of an overlay. Then
    this function copies the folder, as the command `mv` does.

    Args:
        original: `os.rename` or `os.replace`.
        src: the old path.
        dst: the new path.
        folders: the keyword arguments of the function.
    """
    try:
        original(src, dst, **folders)
    except OSError as error:
        is_folder = os.path.isdir(src) and not os.path.islink(src)
        if error.errno != errno.EXDEV or folders or not is_folder:
            raise
        if os.path.isdir(dst):
            os.rmdir(dst)  # fails unless it is empty, as `os.rename` does
        shutil.copytree(src, dst, symlinks=True)
        shutil.rmtree(src)


class Connection:
    """The connection to the server."""

    def __init__(self) -> None:
        self.stream = os.fdopen(CONNECTION, "r", encoding="utf-8", closefd=False)
        self.process = os.getpid()

    def send(self, message: Message) -> None:
        """Send a message, unless this process is a copy that the program made of itself."""
        if os.getpid() == self.process:
            data = (json.dumps(message) + "\n").encode()
            while data:
                data = data[os.write(CONNECTION, data) :]

    def receive(self) -> Message:
        """Return the next message."""
        return json.loads(self.stream.readline())


class EmptyInput(io.TextIOWrapper):
    """Standard input without content; it reports the line of the program that reads it first."""

    def __init__(self, server: Connection) -> None:
        super().__init__(io.BytesIO())
        self.server, self.was_read = server, False

    def read(self, size: int | None = -1, /) -> str:
        """Report the line, and return an empty text."""
        self._report()
        return ""

    def readline(self, size: int = -1, /) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Report the line, and return an empty text."""
        self._report()
        return ""

    def __next__(self) -> str:
        self._report()
        raise StopIteration

    def fileno(self) -> int:
        """Return the descriptor of standard input, which is `/dev/null`."""
        return 0

    def _report(self) -> None:
        if not self.was_read:
            self.was_read = True
            self.server.send({"input": str(current_line())})


def _answer(request: Message, server: Connection) -> Message:
    target = request["target"]
    if "experiment" not in request:
        found = examine_target(
            target, lambda training: SandboxedExperiments(training, request, server)
        )
        return {"findings": [asdict(each) for each in found]}
    training = repeat_target(target, returns_step=request["returns_step"])
    experiment = request["experiment"]
    if experiment.get("checks_numbers"):
        return {"findings": [asdict(each) for each in training.check_numbers()]}
    if "times" in experiment:
        trace = training.run_repeated(experiment["times"])
    else:
        change = Intervention(**experiment["intervention"])
        trace = training.run(experiment["steps"], change, one_batch=experiment["one_batch"])
    return {"outcome": None if trace is None else asdict(ExperimentResult.of(trace))}


class SandboxedExperiments:
    """Runs a training again, in new processes that start from the same files.

    Args:
        training: the observed training.
        request: the request that this process answers.
        server: the connection to the server.
    """

    def __init__(self, training: Training, request: Message, server: Connection) -> None:
        self.samples, self.has_several_batches = training.samples, training.has_several_batches
        self.returns_step = isinstance(training, StepTraining)
        self.request, self.server = request, server

    def run(
        self, steps: int, intervention: Intervention | None = None, *, one_batch: bool = False
    ) -> ExperimentResult:
        """Train for a number of optimiser steps.

        Args:
            steps: the number of steps.
            intervention: the change of the experiment.
            one_batch: whether to train on one batch only.

        Returns:
            The outcome.

        Raises:
            ExperimentError: the program cannot run again.
        """
        change = asdict(intervention or Intervention())
        outcome = self._request(steps=steps, intervention=change, one_batch=one_batch)
        if outcome is None:
            raise ExperimentError
        return outcome

    def check_numbers(self) -> list[CodeFinding]:
        """Train for more steps, and return the finding of the first inf or NaN."""
        answer = self._ask(checks_numbers=True)
        if "findings" not in answer:
            raise ExperimentError
        return [CodeFinding(**each) for each in answer["findings"]]

    def run_repeated(self, times: int) -> ExperimentResult | None:
        """Make one step on a batch in which each sample occurs several times, if possible."""
        return self._request(times=times)

    def _ask(self, **experiment: Any) -> Message:
        request = {**self.request, "experiment": experiment, "returns_step": self.returns_step}
        self.server.send(request)
        answer = self.server.receive()
        if answer.get("ended"):
            raise ExaminationError(
                "no mistake was found before the experiments, but one of them did not end: "
                f"{answer['error']}"
            )
        return answer

    def _request(self, **experiment: Any) -> ExperimentResult | None:
        answer = self._ask(**experiment)
        if "outcome" not in answer:
            raise ExperimentError
        return None if answer["outcome"] is None else ExperimentResult.from_json(answer["outcome"])


if __name__ == "__main__":
    main()
