"""Plans a copy-on-write view of all files: which folders get an overlay, which are read-only."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

SPECIAL = "/proc", "/sys", "/dev"  # the sandbox makes these folders itself
# File systems that show state of the kernel instead of files of a user.
OF_THE_KERNEL = {
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "fusectl",
    "hugetlbfs", "mqueue", "nsfs", "pstore", "rpc_pipefs", "securityfs", "tracefs",
}  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """A mount of this process.

    Attributes:
        number: its number.
        parent: the number of the mount that contains its folder.
        path: its folder.
        kind: the file system.
        read_only: whether it refuses writes.
    """

    number: int
    parent: int
    path: str
    kind: str
    read_only: bool


def read_mounts() -> list[Mount]:
    """Return the visible mounts of this process, each after the mount that contains it."""
    return visible([*parse(Path("/proc/self/mountinfo").read_bytes())])


def parse(table: bytes) -> Iterator[Mount]:
    """Yield the mounts of a table in the format of `/proc/self/mountinfo`."""
    for line in table.splitlines():
        first, _, second = line.partition(b" - ")
        number, parent, _, _, path, options, *_ = first.split(b" ")
        kind, _, of_the_disk, *_ = *second.split(b" "), b""
        name = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)
        flags = options.split(b",") + of_the_disk.split(b",")
        yield Mount(int(number), int(parent), os.fsdecode(name), kind.decode(), b"ro" in flags)


def visible(mounts: Sequence[Mount]) -> list[Mount]:
    """Return the mounts that no other mount hides, each after the mount that contains it."""
    found: list[Mount] = []
    numbers = {each.number for each in mounts}
    waiting = [each for each in mounts if each.parent not in numbers or each.parent == each.number]
    while waiting:
        mount = waiting.pop()
        inner = [each for each in mounts if each.parent == mount.number and each is not mount]
        covers = [each for each in inner if each.path == mount.path]
        if covers:
            waiting.append(covers[-1])
            continue
        found.append(mount)
        waiting += [e for e in inner if not any(is_below(e.path, other.path) for other in inner)]
    return sorted(found, key=lambda each: each.path.rstrip("/").count("/") + len(each.path) / 1e5)


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is inside a folder, and not the folder itself."""
    return path != folder and path.startswith(folder.rstrip("/") + "/")


class Kind(Enum):
    """How a path appears in the sandbox."""

    OVERLAY = "overlay"  # a folder whose changes go to an upper layer
    READ_ONLY = "read-only"
    FOLDER = "folder"  # a new folder, which the following steps fill
    COPY = "copy"  # a file
    LINK = "link"  # a symbolic link


@dataclass(frozen=True)
class PlanStep:
    """A step of the plan: a path, and how it appears."""

    kind: Kind
    path: str


def plan(mounts: Sequence[Mount], *, split: bool) -> Iterator[PlanStep]:
    """Yield the steps that make all mounts visible, with all writes in upper layers.

    Args:
        mounts: the visible mounts, each after the mount that contains it.
        split: whether a folder that contains mounts cannot get one overlay. The kernel refuses it
            in a user namespace; then each of its entries gets an overlay.
    """
    mounts = [each for each in mounts if not _is_special(each.path)]
    paths = [each.path for each in mounts]
    for each in mounts:
        if each.read_only or each.kind in OF_THE_KERNEL or not Path(each.path).is_dir():
            yield PlanStep(Kind.READ_ONLY, each.path)
        else:
            yield from _writable(each.path, [*paths, *SPECIAL], split)


def _is_special(path: str) -> bool:
    return path in SPECIAL or any(is_below(path, each) for each in SPECIAL)


def _writable(path: str, mounts: Sequence[str], split: bool) -> Iterator[PlanStep]:
    if not split or not any(is_below(each, path) for each in mounts):
        yield PlanStep(Kind.OVERLAY, path)
        return
    yield PlanStep(Kind.FOLDER, path)
    try:
        entries = sorted(os.scandir(path), key=lambda each: each.name)
    except OSError:  # a folder that this user cannot read
        return
    for entry in entries:
        if entry.is_symlink():
            yield PlanStep(Kind.LINK, entry.path)
        elif entry.path in mounts:  # a later step of `plan` shows the mount
            is_folder = entry.is_dir(follow_symlinks=False)
            yield PlanStep(Kind.FOLDER if is_folder else Kind.COPY, entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _writable(entry.path, mounts, split)
        elif entry.is_file(follow_symlinks=False):
            yield PlanStep(Kind.COPY, entry.path)
