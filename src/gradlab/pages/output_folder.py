"""Write a folder of pages as a whole: a reader sees the old folder or the new one, never half.

The files are written into a new folder next to the old one, which then takes its place. A folder
with files that gradlab did not write is not replaced, and no link is followed.
"""

import ctypes
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from gradlab.errors import StoreError

MANIFEST = ".gradlab-files"
"""The file with the paths of the other files that gradlab wrote, one in each line."""
AT_FDCWD, EXCHANGE = -100, 2
"""From <fcntl.h> and <linux/fs.h>: the working folder, and the flag of an exchange."""
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers add to any folder."""
_FORMER = (".html", ".md", ".png", ".svg", ".csv")
"""Types of the files in a folder without a manifest, which an earlier version wrote."""


@contextmanager
def new_folder(folder: Path) -> Generator[Path]:
    """Replace a folder by the files that the `with` block writes, if the block succeeds.

    Args:
        folder: The folder. If it exists, it has only files that gradlab wrote.

    Yields:
        An empty folder for the files.

    Raises:
        StoreError: The folder has other files, or cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # `.` and `..` have no name
    check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        temporary.mkdir()
        yield temporary
        names = sorted(each.relative_to(temporary).as_posix() for each in _files(temporary))
        (temporary / MANIFEST).write_text("\n".join(names) + "\n", encoding="utf-8")
        check_replaceable(folder)  # again, because writing takes a while
        _exchange(temporary, folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def check_replaceable(folder: Path) -> None:
    """Check that a folder is missing, or has only files that gradlab wrote.

    Raises:
        StoreError: The folder has another file, or is a link or a file.
    """
    if folder.is_symlink():
        raise StoreError(f"{folder} is a symbolic link, which gradlab does not follow; remove it")
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise StoreError(f"{folder} cannot be written: it is a file; move it")
        files = [each for each in _files(folder) if each.name not in IGNORED]
        manifest = folder / MANIFEST
        names = None
        if manifest in files and manifest.is_file() and not manifest.is_symlink():
            names = {MANIFEST, *manifest.read_text(encoding="utf-8", errors="replace").splitlines()}
        for file in files:
            name = file.relative_to(folder).as_posix()
            known = name in names if names is not None else file.suffix in _FORMER
            if not known or file.is_symlink() or not file.is_file():
                raise StoreError(
                    f"{file} was not written by gradlab; move it, so that {folder} can be replaced"
                )
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}") from error


def _files(folder: Path) -> list[Path]:
    """Return all files below a folder, and all links, which are not followed."""
    return [
        path
        for root, folders, files in os.walk(folder)
        for path in (Path(root, name) for name in chain(files, folders))
        if path.is_symlink() or not path.is_dir()
    ]


def _exchange(new: Path, folder: Path) -> None:
    """Put the new folder in the place of the old one, and remove the old one."""
    if folder.exists() and _swap(new, folder):
        _remove(new)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    _remove(old)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, so that both names always exist.

    Python has no function for it. Without a call of the system, the exchange takes two steps.

    Returns:
        Whether the system and the file system can do it.
    """
    names = os.fsencode(one), os.fsencode(other)
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(library, "renameat2"):  # Linux
        return library.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE) == 0
    if hasattr(library, "renamex_np"):  # macOS
        return library.renamex_np(*names, EXCHANGE) == 0
    return False


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of processes that were killed; restore a folder moved away."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)(\.old)?\.tmp")
    for path in folder.parent.iterdir():
        match = name.fullmatch(path.name)
        if match is None or path.is_symlink() or _is_busy(int(match[1])):
            continue
        if match[2] and not folder.exists():
            path.rename(folder)
        else:
            _remove(path)


def _is_busy(process: int) -> bool:
    """Return whether another process with this number exists."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user; or Windows, which has only other signals
        return True
    return True


def _remove(path: Path) -> None:
    """Remove a folder of this module, or a link in its place; a link is not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
