"""What a step is called with, one after another: batches out of whatever holds them."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from torch import Tensor

from gradlab.errors import ExaminationError

MOST = 16


def batches(given: Any) -> list[Any]:
    """Return one batch, or the first of many, as a list.

    A tensor, a tuple, a mapping, and a list that holds a tensor are one batch; any other iterable
    is of batches.

    Raises:
        ExaminationError: there is none.
    """
    if callable(given) and not hasattr(given, "__iter__"):
        given = given()
    is_list = isinstance(given, list)
    if isinstance(given, Tensor | tuple | dict) or (
        is_list and any(isinstance(each, Tensor) for each in given)
    ):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, str) or hasattr(given, "keys"):
        return [given]
    found = [*islice(given, MOST)]
    if not found:
        raise ExaminationError("expected a batch, or an iterable of batches; given none")
    return found


def otherwise(given: Any, read: list[Any]) -> list[Any]:
    """Return the batches of a list, read in the other way than `batches` does; [] if it has none.

    A list of tensors holds batches then, and a list of anything else is one batch.
    """
    if not isinstance(given, list):
        return []
    parts: list[Any] = given
    return parts[:MOST] if len(read) == 1 and read[0] is parts else [parts]


def drawn_from(loader: Any) -> list[Any]:
    """Return the generators of its own that a loader of data draws from, if it has any."""
    owners = (loader, getattr(loader, "sampler", None))
    return [getattr(owner, "generator", None) for owner in owners]
