"""Read files of a folder that someone else may have written, without harm to the reader.

A link is not followed, because it may lead out of the folder. A pipe or a device is not opened for
reading, because a reader may wait for it forever. JSON is checked before it becomes Python objects.
"""

import json
import math
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gradlab.errors import StoreError, first_line

LARGEST_TEXT = 2**26
"""Bytes of the largest JSON or YAML file that is read: 64 MiB."""
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def open_regular(path: Path) -> Generator[BinaryIO]:
    """Open a regular file for reading.

    Args:
        path: The file.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: The file does not exist.
        StoreError: The file is a link, a pipe, a folder or a device, or cannot be read.
    """
    if path.is_symlink():
        raise StoreError(f"{path} is a symbolic link, which gradlab does not follow; copy the file")
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is not a regular file; remove it")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_text(path: Path) -> str:
    """Read a regular file of UTF-8.

    Args:
        path: The file.

    Returns:
        The text.

    Raises:
        FileNotFoundError: The file does not exist.
        StoreError: The file is not a regular file, is too large, cannot be read, or is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise StoreError(f"{path} is damaged: it has more than {LARGEST_TEXT:,} bytes")
        return content.decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {first_line(error)}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        The content. Integers beyond 64 bits are floats.

    Raises:
        FileNotFoundError: The file does not exist.
        StoreError: The file cannot be read, or is not JSON in UTF-8 with finite numbers and with
            different keys in each object.
    """
    text = read_text(path)
    try:
        return json.loads(
            text,
            object_pairs_hook=_different_keys,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        raise StoreError(f"{path} is damaged: its values are nested too deeply") from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {first_line(error)}") from error


def _different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.40} occurs twice")
    return content


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected finite numbers, but one is {text:.40}")
    return value


def _whole(text: str) -> int | float:
    whole = int(text) if len(text) <= 20 else 2**64
    return whole if -(2**63) <= whole < 2**64 else _finite(text)  # torch's seeds are below 2^64
