"""Starts every run of the examined program in new, isolated processes.

    gradlab doctor          prints the findings; removes the temporary folder
      server                imports torch once, waits for messages (this file)
        keeper              exists for one run; checks its limits
          first process     of the process namespace, if there is one
            program         a copy of the server: imports the user's code, sends the result

Each run starts from the same files and the same state of Python. Messages are lines of JSON. The
program that observes the training can request further runs, its experiments.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from gradlab.debugger.sandbox import kernel
from gradlab.debugger.sandbox.copies import files, remove_tree
from gradlab.debugger.sandbox.limits import Limits, end_descendants, watch
from gradlab.debugger.sandbox.mechanisms import FAILED, Mechanism, Scope, strongest
from gradlab.errors import GradlabError, SettingsError

Message = dict[str, Any]
LONGEST = 2**24  # characters of a message
CONNECTION = 3  # the descriptor of the program's connection to the server


class Ended(BaseException):
    """SIGTERM arrived."""


class Server:
    """Runs the program any number of times.

    Args:
        mechanism: the protection.
        scope: the temporary folder, and the rights of the program.
        limits: the limits of each run.
    """

    def __init__(self, mechanism: Mechanism, scope: Scope, limits: Limits) -> None:
        self.mechanism, self.scope, self.limits = mechanism, scope, limits
        self.runs, self.input = 0, ""

    def run(self, request: Message) -> Message:
        """Run the program once.

        Args:
            request: the first message for the program.

        Returns:
            Its last message, or an error.
        """
        self.runs += 1
        scope = replace(self.scope, folder=self.scope.folder / str(self.runs))
        scope.folder.mkdir()
        ours, theirs = socket.socketpair()
        keeper = os.fork()
        if not keeper:
            ours.close()
            keep(self.mechanism, scope, self.limits, theirs)
        theirs.close()
        try:
            with ours, suppress(OSError, ValueError):
                return self._answer(ours, request)
            return self._explain("the program was ended from outside", ended=True)
        finally:
            with suppress(OSError):
                os.kill(keeper, signal.SIGTERM)
            os.waitpid(keeper, 0)
            with suppress(OSError):
                remove_tree(scope.folder)

    def _answer(self, connection: socket.socket, request: Message) -> Message:
        stream = connection.makefile("rw", encoding="utf-8")
        send(stream, request)
        while line := stream.readline(LONGEST):
            message = json.loads(line)
            if "experiment" in message:
                send(stream, self.run(message))
            elif "input" in message:
                self.input = str(message["input"])
            elif "stopped" in message:
                return self._explain(self.limits.explain(message["stopped"]), ended=True)
            else:
                return self._explain(**message) if "error" in message else message
        return self._explain("the program was ended from outside", ended=True)

    def _explain(self, error: str, kind: str = "ExaminationError", ended: bool = False) -> Message:
        """Return an error; name the line that read standard input.

        Args:
            error: the message.
            kind: the class of the error.
            ended: whether the process of the program was ended.
        """
        if self.input:
            error += f"; {self.input} reads standard input, which is empty here"
        return _error(error, kind, ended)


def _error(error: str, kind: str = "ExaminationError", ended: bool = False) -> Message:
    return {"error": error, "kind": kind, "ended": ended}


def send(stream: Any, message: Message) -> None:
    """Write a message."""
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def keep(mechanism: Mechanism, scope: Scope, limits: Limits, connection: socket.socket) -> NoReturn:
    """Start the program, wait until it ends or reaches a limit, and end all its processes.

    Args:
        mechanism: the protection.
        scope: the place of the run.
        limits: the limits.
        connection: the connection to the server.
    """
    stream = connection.makefile("w", encoding="utf-8")
    try:
        kernel.die_with_parent(signal.SIGTERM)
        kernel.adopt_orphans()
        command = mechanism.command(scope)
        child = mechanism.start(scope, lambda: _run(connection, limits, command))
        with suppress(OSError):
            reason = watch(child, limits, lambda: _size(scope.folder))
            if isinstance(reason, str):
                end_descendants(os.getpid())
                send(stream, {"stopped": reason})
            else:
                send(stream, _error(_describe_end(reason), ended=True))
    except Ended:
        pass
    except GradlabError as error:
        send(stream, _error(str(error), type(error).__name__))
    except OSError as error:
        send(stream, _error(f"the sandbox cannot be made: {error}"))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants(os.getpid())
        os._exit(0)


def _describe_end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == FAILED:
        return "the sandbox cannot be made"
    number = -code if code < 0 else 256 - code if code > 192 else 0
    if number:
        name = signal.Signals(number).name
        hint = ": the memory may be exhausted" if number == signal.SIGKILL else ""
        return f"the program was ended by {name}{hint}"
    return f"the program ended itself, with exit code {code}, before its training was examined"


def _size(folder: Path) -> int:
    return sum(each.stat(follow_symlinks=False).st_blocks * 512 for each in files(folder))


def _run(connection: socket.socket, limits: Limits, command: Sequence[str]) -> NoReturn:
    """Run the program in this process, without input and output.

    Args:
        connection: the connection to the server.
        limits: the limits.
        command: replaces this process by a new one, unless it is empty.
    """
    os.dup2(connection.fileno(), CONNECTION)
    null = os.open(os.devnull, os.O_RDWR)
    for each in range(3):
        os.dup2(null, each)
    os.closerange(CONNECTION + 1, 64)
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    limits.apply()
    if command:
        os.execv(command[0], [*command])
    from gradlab.debugger.sandbox.program import main  # torch

    main()


def serve(options: Message) -> Iterator[Message]:
    """Choose the protection, and examine a program.

    Args:
        options: the target, the limits and the rights.

    Yields:
        The chosen protection, then the result.
    """
    limits = Limits(**options["limits"])
    scope = Scope(
        Path(options["folder"]), Path(options["working"]), options["network"], limits.disk
    )
    tests = _folders(scope)
    mechanism = strongest(tests, options["sandbox"])
    description = mechanism.describe(network=scope.network)
    if not mechanism.protects and not options["trust"]:
        raise SettingsError(
            f"this system has no sandbox for the program: it {description}; --trust runs it"
        )
    yield {"sandbox": description}
    mechanism.enter()
    if not mechanism.command(next(tests)):
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(scope.folder)}  # torch makes this folder
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an import may catch `Ended`
        with patch.dict(os.environ, caches):
            import_module("gradlab.debugger.sandbox.program").preload()
        signal.signal(signal.SIGTERM, _end)
    yield Server(mechanism, scope, limits).run({"target": options["target"]})


def _folders(scope: Scope) -> Iterator[Scope]:
    number = 0
    while True:
        number += 1
        folder = scope.folder / f"test-{number}"
        folder.mkdir()
        yield replace(scope, folder=folder)
        with suppress(OSError):
            remove_tree(folder)


def main() -> None:
    """Serve one examination; the options are the first argument, the output a pipe."""
    options = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _end)
    kernel.die_with_parent(signal.SIGTERM)
    kernel.adopt_orphans()
    if os.getppid() != options["parent"]:
        return  # the parent has ended before
    try:
        for message in serve(options):
            send(sys.stdout, message)
    except GradlabError as error:
        send(sys.stdout, _error(str(error), type(error).__name__))
    except (Ended, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants(os.getpid())
        if os.getppid() != options["parent"]:  # it was killed
            with suppress(OSError):
                remove_tree(Path(options["folder"]))
        os._exit(0)  # without the slow end of Python after the import of torch


def _end(number: int, frame: object) -> NoReturn:
    raise Ended


if __name__ == "__main__":
    main()
