"""Examines a program in a sandbox: starts the server, waits for its result, removes its files."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gradlab import errors
from gradlab.config.interrupt import Interrupted
from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.sandbox.copies import remove_tree
from gradlab.debugger.sandbox.limits import Limits
from gradlab.debugger.targets import check_file
from gradlab.errors import ExaminationError, GradlabError, SettingsError

PREFIX, LOCK = "gradlab-doctor-", "lock"
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
)
PATIENCE = 10.0  # seconds in which the server ends its processes


@dataclass(frozen=True)
class Examination:
    """The result of an examination.

    Attributes:
        sandbox: the protection of the files, in words.
        findings: the mistakes.
    """

    sandbox: str
    findings: list[CodeFinding]


def examine_in_sandbox(
    target: str,
    limits: Limits,
    *,
    network: bool = False,
    trust: bool = False,
    sandbox: str | None = None,
) -> Examination:
    """Examine a program in child processes that cannot change the user's files.

    Args:
        target: `MODULE:FUNCTION`, `FILE.py:FUNCTION` or `FILE.py`.
        limits: the limits of each run of the program.
        network: whether the program may use the network.
        trust: whether to run the program if the system has no way to protect all files.
        sandbox: the mechanism, a name of `mechanisms`; None for the strongest.

    Returns:
        The findings, and the mechanism.

    Raises:
        GradlabError: the program cannot be examined.
    """
    try:
        working = str(Path.cwd())
    except FileNotFoundError as error:
        raise SettingsError("the current folder no longer exists: change to another one") from error
    check_file(target)  # a wrong command is reported at once
    with ending_signals(), temporary_folder() as folder:
        options = {
            "target": target,
            "limits": asdict(limits),
            "network": network,
            "trust": trust,
            "sandbox": sandbox,
            "working": working,
            "folder": str(folder),
            "parent": os.getpid(),
        }
        messages = [*_run_server(options)]
    return _read(messages)


def _run_server(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "gradlab.debugger.sandbox.server", json.dumps(options)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in a terminal reaches this process only
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                yield json.loads(line)
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()


def _read(messages: list[dict[str, Any]]) -> Examination:
    """Return the result.

    Raises:
        GradlabError: the result is an error.
    """
    content = {key: value for message in messages for key, value in message.items()}
    if "error" in content:
        kind: Any = getattr(errors, str(content["kind"]), None)
        is_error = isinstance(kind, type) and issubclass(kind, GradlabError)
        error: type[GradlabError] = kind if is_error else ExaminationError
        raise error(str(content["error"]))
    if "findings" not in content:
        raise ExaminationError("the processes of the sandbox were ended from outside")
    findings = [
        CodeFinding(**{key: str(value) for key, value in each.items()})
        for each in content["findings"]
    ]
    return Examination(str(content["sandbox"]), findings)


@contextmanager
def ending_signals() -> Generator[None]:
    """Raise Interrupted at the first signal that ends a program; ignore all further signals.

    After the first signal, the program only removes its files and ends.

    Yields:
        Nothing.
    """
    before: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in SIGNALS:
        if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN:  # `nohup`
            before[each] = signal.getsignal(each)
            signal.signal(each, end)
    try:
        yield
    except Interrupted:
        raise  # all signals stay ignored, because the program ends now
    except BaseException:
        _restore(before)
        raise
    _restore(before)


def _restore(handlers: dict[int, Any]) -> None:
    for each, handler in handlers.items():
        signal.signal(each, handler)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that this process owns, and remove it; first remove folders without an owner.

    Yields:
        The folder.

    Raises:
        SettingsError: no folder for temporary files can be written.
    """
    for parent in _parents():
        _remove_stale(parent)
    for parent in _parents():
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            lock = _lock(folder)
        except OSError:
            continue
        try:
            yield folder
        finally:
            _remove(folder)
            os.close(lock)
        return
    raise SettingsError(
        "expected a folder for temporary files that can be written, given "
        f"{', '.join(map(str, _parents()))}: set TMPDIR"
    )


def _parents() -> list[Path]:
    """Return the folders for temporary files; never the current folder."""
    names = [os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"]
    return [*dict.fromkeys(Path(each).absolute() for each in names if each and Path(each).is_dir())]


def _lock(folder: Path) -> int:
    """Lock a folder until this process ends.

    Returns:
        The descriptor of the lock.

    Raises:
        OSError: another process has just removed the folder, before it was locked.
    """
    import fcntl

    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.stat(folder / LOCK)
    return lock


def _remove_stale(parent: Path) -> None:
    """Remove the folders of processes that were killed."""
    import fcntl

    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _empty(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder; processes that were just killed may still write into it."""
    for _ in range(20):
        with suppress(OSError):
            _empty(folder)
            return
        time.sleep(0.05)


def _empty(folder: Path) -> None:
    """Remove a folder, its lock last: so a process that is killed here leaves a stale folder."""
    for each in folder.iterdir():
        if each.name != LOCK:
            remove_tree(each)
    (folder / LOCK).unlink()
    folder.rmdir()
