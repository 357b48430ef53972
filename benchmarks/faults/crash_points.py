"""Ends or refuses a run, a sweep and a report at each of their file operations.

    python benchmarks/faults/crash_points.py

Python's audit events name each file that is opened for writing, renamed, linked, removed or made
below the folder of results. At the n-th operation, for each n, one of these faults happens:

- `kill`: the process is killed. Then the files are read, and the command is repeated with
  `sweep.resume=true`.
- `full disk`: this operation and all later ones fail.
- `read-only`: the same from the first operation on.

Lost: a file is damaged, a row differs from the row of an undisturbed command, or the repeated
command does not end with the same numbers. Harmed: a file next to the folder changed.
"""

import errno
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd
import torch

from gradlab.cli.main import main as gradlab
from gradlab.errors import StoreError
from gradlab.results.load import find

torch.set_num_threads(1)
SHORT = ["tracking=none", "model.depth=2", "model.width=8", "train.steps=30", "record.every=1"]
RUN = ["run", *SHORT, "hydra.run.dir=out/0"]
SWEEP = ["run", "-m", *SHORT, "seed=0,1,2", "hydra.sweep.dir=out"]
COMMANDS: Mapping[str, list[str]] = {
    "run": RUN,
    "sweep, fused": [*SWEEP, "hydra.launcher.workers=1"],
    "sweep, basic": [*SWEEP, "hydra/launcher=basic"],
    "report": ["report", "out"],
}
OPERATIONS = {"os.rename": (0, 1), "os.link": (0, 1), "os.remove": (0,), "os.mkdir": (0,)}
WRITING = os.O_WRONLY | os.O_RDWR


class Fault:
    """A fault at the file operations below a folder.

    Args:
        folder: The folder.
        at: Number of the first operation that is disturbed, from 1; 0 for none.
        name: `kill`, `full disk` or `read-only`.
    """

    def __init__(self, folder: Path, at: int, name: str) -> None:
        self.folder, self.at, self.name, self.count = str(folder), at, name, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle an audit event."""
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
            paths = [path]
        elif event in OPERATIONS:
            paths = [arguments[index] for index in OPERATIONS[event]]
        else:
            return
        if not any(self._is_inside(each) for each in paths):
            return
        self.count += 1
        if self.at and self.count >= self.at:
            if self.name == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            number = errno.EROFS if self.name == "read-only" else errno.ENOSPC
            raise OSError(number, os.strerror(number))

    def _is_inside(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(self.folder)


def in_child(work: Callable[[], int], errors: Path) -> int:
    """Run a function in a fork.

    Args:
        work: Returns the exit code.
        errors: The file for standard error.

    Returns:
        The exit code; negative for a signal.
    """
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        try:
            os._exit(work())
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def disturbed(command: Sequence[str], at: int, name: str, errors: Path) -> tuple[int, int]:
    """Run a command with a fault; return its exit code and the number of its operations."""
    reader, writer = os.pipe()

    def work() -> int:
        fault = Fault(Path("out").absolute(), at, name)
        sys.addaudithook(fault)
        try:
            return gradlab(command)
        finally:
            os.write(writer, b"%d" % fault.count)

    code = in_child(work, errors)
    os.close(writer)
    with os.fdopen(reader) as stream:
        return code, int(stream.read() or 0)


def rows(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the rows of all runs; raise StoreError for a damaged one."""
    if not list(folder.rglob("run.json")):
        return {}
    runs, damaged = find(folder)
    if damaged:
        raise StoreError(damaged[0])
    frames = {
        f"{run.name} {part}": getattr(run, part)() for run in runs for part in ("layers", "steps")
    }
    return {
        name: frame.drop(columns=["seconds"], errors="ignore") for name, frame in frames.items()
    }


def try_once(
    name: str, command: list[str], at: int, whole: Mapping[str, pd.DataFrame]
) -> list[bool]:
    """Return whether data were lost or harmed, a traceback was printed, the exit code was wrong."""
    errors, neighbour = Path("errors"), Path("neighbour")
    neighbour.write_text("mine")
    code, _ = disturbed(command, at, name, errors)
    text = errors.read_text()
    lost = False
    try:
        for key, frame in rows(Path("out")).items():
            lost |= not frame.equals(whole[key].head(len(frame)))
        if name == "kill":
            again = command if command[0] == "report" else [*command, "sweep.resume=true"]
            lost |= in_child(lambda: gradlab(again), errors) != 0
            after = rows(Path("out"))
            lost |= after.keys() != whole.keys() or not all(
                after[k].equals(whole[k]) for k in whole
            )
    except StoreError:
        lost = True
    wrong = code != -signal.SIGKILL if name == "kill" else code not in (0, 1, 2)
    return [lost, neighbour.read_text() != "mine", "Traceback" in text, wrong]


def main() -> None:
    """Print a row for each command and fault."""
    print("| command | fault | operations | lost | harmed | tracebacks | wrong exit code |")
    print("|---|---|---|---|---|---|---|", flush=True)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:  # so that each fork has imported all modules
        os.chdir(temporary)
        for command in COMMANDS.values():
            with redirect_stdout(io.StringIO()):
                gradlab([*command, "sweep.resume=true"] if command[0] == "run" else command)
        os.chdir(start)
    for title, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as temporary:
            os.chdir(temporary)
            if command[0] == "report":
                in_child(lambda: gradlab(COMMANDS["sweep, basic"]), Path("errors"))
            _, count = disturbed(command, 0, "none", Path("errors"))
            whole = rows(Path("out"))
            os.chdir(start)
        for name in ("kill", "full disk", "read-only"):
            moments = range(1, 2 if name == "read-only" else count + 1)
            total = [0, 0, 0, 0]
            for at in moments:
                with tempfile.TemporaryDirectory() as temporary:
                    os.chdir(temporary)
                    if command[0] == "report":
                        in_child(lambda: gradlab(COMMANDS["sweep, basic"]), Path("errors"))
                    found = try_once(name, command, at, whole)
                    os.chdir(start)
                if any(found) and "--verbose" in sys.argv:
                    print(title, name, at, found, file=sys.stderr)
                total = [a + b for a, b in zip(total, found, strict=True)]
            print(f"| {title} | {name} |", " | ".join(map(str, [len(moments), *total])), "|",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
