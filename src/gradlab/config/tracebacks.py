"""An error that nobody foresaw: its traceback goes into a file, and the user is told one line."""

import os
import traceback
from contextlib import suppress
from pathlib import Path

from gradlab.errors import JobError


def broken(error: BaseException, folder: Path) -> JobError:
    """Leave `traceback.txt` in `folder`, and return the line that names it."""
    file = folder / "traceback.txt"
    lines = "".join(traceback.format_exception(error))
    with suppress(OSError):  # of a full disk; what was flushed before still reads
        file.write_text(lines, encoding="utf-8")
    return JobError(f"{described(error)} (traceback in {os.path.relpath(file)})")


def described(error: BaseException) -> str:
    """Return an error's type and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
