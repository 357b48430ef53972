"""The owner of a run's folder: the process that writes it.

A file names the owner, because locks of the operating system do not work on every network file
system. A process that was killed leaves its file behind. So the file also has the host and the
start time of the process, by which others find out whether the owner still exists. Where they
cannot, on another host or in another container, the time of the last flush decides. An owner that
was silent for too long finds the file of another owner before its next write, and stops.
"""

import json
import math
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradlab.errors import StoreError
from gradlab.results.files import read_json

NAME = ".owner.json"
SILENT = 3600.0
"""Seconds without a flush after which an owner on another host counts as gone."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Owner:
    """Ownership of a folder by this process.

    Args:
        folder: The folder of a run.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> owner = Owner(folder)
        >>> owner.acquire()
        >>> living_owner(folder) is not None
        True
        >>> owner.release()
        >>> living_owner(folder) is None
        True
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._content: dict[str, Any] | None = None

    def acquire(self) -> None:
        """Become the owner of the folder, which exists; a second call has no effect.

        Raises:
            StoreError: Another record is being written into the folder.
        """
        if self._content is not None:
            return
        content = {**_identity(os.getpid()), "record": time.time_ns()}
        for _ in range(3):  # the file of an owner that is gone may be replaced by a new owner
            try:
                self._create(content)
            except FileExistsError:
                _check_gone(self.path.parent)
                self._remove_stale()
            else:
                self._content = content
                return
        _check_gone(self.path.parent)
        raise StoreError(f"{self.path} cannot be replaced; remove it")

    def _create(self, content: dict[str, Any]) -> None:
        """Create the file with its content in one step, unless it exists.

        Raises:
            FileExistsError: The file exists.
        """
        temporary = self.path.with_name(f"{NAME}.{os.getpid()}.new")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            raise
        except OSError:  # the file system has no links
            with self.path.open("x", encoding="utf-8") as file:
                json.dump(content, file)
        finally:
            temporary.unlink()

    def touch(self) -> None:
        """Show other hosts that the owner exists; called before each write into the folder.

        Raises:
            StoreError: Another process has become the owner.
        """
        if self._content is None:
            return
        found = _read(self.path)
        if found is None:  # somebody removed the file
            self._content = None
            self.acquire()
        elif found != self._content:
            raise StoreError(_busy(self.path.parent, _text(found)))
        os.utime(self.path)

    def release(self) -> None:
        """Give up the folder. A forked process does not remove its parent's file."""
        content, self._content = self._content, None
        if content is not None and content["pid"] == os.getpid() and _read(self.path) == content:
            self.path.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        """Remove the file of an owner that is gone, but not the file of a new owner."""
        stale, aside = _read(self.path), self.path.with_name(f"{NAME}.{os.getpid()}.tmp")
        if self.path.is_dir():
            raise StoreError(f"{self.path} is a folder; remove it")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if _read(aside) != stale:  # another process has become the owner in between
            os.rename(aside, self.path)
        else:
            aside.unlink(missing_ok=True)


def living_owner(folder: Path) -> str | None:
    """Return a description of the process that writes a run's folder; None if there is none."""
    content = _read(folder / NAME)
    if content is None:
        return None
    pid, host = content.get("pid"), content.get("host")
    if not isinstance(pid, int) or not isinstance(host, str):
        return None
    here = _identity(pid)
    if all(content.get(key) == here[key] for key in ("host", "namespace", "boot")):
        return _text(content) if content.get("start") == here["start"] else None
    # It runs elsewhere, or this machine has started again since then.
    limit = min(SILENT, _uptime()) if host == here["host"] else SILENT
    with suppress(FileNotFoundError):
        silent = time.time() - (folder / NAME).stat().st_mtime
        return _text(content) if silent < limit else None
    return None


def _text(content: dict[str, Any]) -> str:
    return f"process {content.get('pid')} on {content.get('host')}"


def _busy(folder: Path, owner: str) -> str:
    return f"{folder} is being written by {owner}; choose another folder"


def _check_gone(folder: Path) -> None:
    owner = living_owner(folder)
    if owner is not None:
        raise StoreError(_busy(folder, owner))


def _identity(pid: int) -> dict[str, Any]:
    """Return what identifies a process: number, host, namespace of numbers, boot, and start.

    Containers on one host can have equal host names, and then differ in the namespace. Machines
    with equal names differ in the boot. Without `/proc`, unknown entries are empty.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start = "gone" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        start = "" if _exists(pid) else "gone"
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "namespace": _namespace(),
        "boot": _boot(),
        "start": start,
    }


def _namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text(encoding="utf-8").strip()
    return ""


def _uptime() -> float:
    """Return the seconds since this machine has started; infinite if unknown."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return math.inf if clock is None else time.clock_gettime(clock)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of the file; None if it is missing, empty or damaged."""
    try:
        content = read_json(path)
    except (OSError, StoreError):
        return None
    return content if isinstance(content, dict) else None
