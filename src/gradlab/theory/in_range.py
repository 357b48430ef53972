"""Variances that grow or shrink by the same factor in every layer leave float64 in the end."""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from gradlab.errors import PredictionError


@contextmanager
def in_range() -> Generator[None]:
    """Say so where numbers overflow, or where the logarithm of an exact 0 is asked for.

    Raises:
        PredictionError: they do.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except ArithmeticError as error:
        raise PredictionError(
            "the signals of this network, or their squares, leave what float64 can hold: there is "
            "no prediction; choose fewer layers, or another initialisation"
        ) from error
