"""Copies the working folder for systems without overlays."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gradlab.errors import ExaminationError

_CLONE = 0x40049409  # the request to share the blocks of two files until one changes (FICLONE)
GIB = 2**30


def mirror(folder: Path, root: Path, most: int, hidden: Path) -> Path:
    """Copy a folder to the same path below another root; link the folders around it.

    The links make relative paths such as `../data` valid in the copy. The copy has no sockets
    and devices, and no files that this user cannot read.

    Args:
        folder: the absolute path of the folder.
        root: the new root.
        most: the largest size of the copy, in bytes.
        hidden: a folder to leave out; it contains the new root.

    Returns:
        The copy.

    Raises:
        ExaminationError: the folder is larger.
    """
    size = 0
    for each in files(folder, hidden):
        size += each.stat(follow_symlinks=False).st_size
        if size > most:
            raise ExaminationError(
                f"the sandbox needs a copy of {folder}, which has more than {most / GIB:.3g} GiB: "
                "start gradlab doctor in a smaller folder, or allow more with --disk GIB"
            )
    source, copy = Path(folder.anchor), root
    copy.mkdir()
    for part in folder.relative_to(folder.anchor).parts:
        _link_entries(source, copy, part)
        source, copy = source / part, copy / part
        copy.mkdir()

    def copy_entries(source: Path, target: Path) -> None:
        for entry in _entries(source):
            at = target / entry.name
            if entry.is_symlink():
                link = Path(entry.path).readlink()
                inside = link.is_relative_to(folder)  # an absolute link into the folder
                at.symlink_to(copy / link.relative_to(folder) if inside else link)
            elif entry.is_dir(follow_symlinks=False):
                if Path(entry.path) != hidden:
                    at.mkdir()
                    copy_entries(Path(entry.path), at)
                    _copy_state(entry.path, at)
            elif entry.is_file(follow_symlinks=False):
                _clone(entry.path, at)
            elif stat.S_ISFIFO(entry.stat(follow_symlinks=False).st_mode):
                os.mkfifo(at)

    copy_entries(folder, copy)
    return copy


def files(folder: Path, hidden: Path | None = None) -> Iterator[os.DirEntry[str]]:
    """Yield the regular files below a folder; skip folders that this user cannot read.

    Args:
        folder: the folder.
        hidden: a folder to leave out.
    """
    for entry in _entries(folder):
        with suppress(OSError):  # removed meanwhile
            if entry.is_dir(follow_symlinks=False):
                if Path(entry.path) != hidden:
                    yield from files(Path(entry.path), hidden)
            elif entry.is_file(follow_symlinks=False):
                entry.stat(follow_symlinks=False)
                yield entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as found:
        return [*found]
    return []


def _clone(source: str, target: Path) -> None:
    """Copy a file, its times and its mode; share the blocks on disk where that is possible."""
    with suppress(PermissionError, FileNotFoundError):  # unreadable, or removed meanwhile
        try:
            with Path(source).open("rb") as old, target.open("wb") as new:
                fcntl.ioctl(new, _CLONE, old.fileno())
        except (PermissionError, FileNotFoundError):
            raise
        except OSError:
            shutil.copyfile(source, target)
        _copy_state(source, target)


def _copy_state(source: str, target: Path) -> None:
    with suppress(OSError):
        shutil.copystat(source, target)


def _link_entries(source: Path, copy: Path, but: str) -> None:
    for entry in _entries(source):
        if entry.name != but:
            (copy / entry.name).symlink_to(entry.path)


def remove_tree(folder: Path) -> None:
    """Remove a folder; a program may have made folders inside that nobody can read.

    Raises:
        OSError: a file cannot be removed.
    """
    for at, folders, _ in os.walk(folder):
        for each in folders:
            if not Path(at, each).is_symlink():
                Path(at, each).chmod(0o700)
    shutil.rmtree(folder)
