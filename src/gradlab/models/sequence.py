"""A flat sample as a sequence of steps."""

from torch import Tensor

from gradlab.errors import SettingsError


def steps_of(shape: tuple[int, int], per_step: int) -> tuple[int, int]:
    """Return (steps, features of a step) of a sample that is (steps, features) as the data has it.

    Args:
        shape: the data's own.
        per_step: features that make a step; 0 for the data's own.

    Raises:
        SettingsError: a sample's features cannot be divided so.
    """
    features = shape[0] * shape[1]
    each = per_step or shape[1]
    if features % each:
        raise SettingsError(
            f"model.per_step={each}: expected a divisor of the {features} features of a sample; "
            f"the nearest is {nearest_divisor(features, each)}"
        )
    return features // each, each


def nearest_divisor(whole: int, given: int) -> int:
    """Return the divisor of `whole` that is nearest to `given`, the smaller of two.

    >>> nearest_divisor(64, 7)
    8
    """
    return min((n for n in range(1, whole + 1) if whole % n == 0), key=lambda n: abs(n - given))


def read(h_BTU: Tensor, asked: int | None) -> Tensor:
    """Return the last step [B, U], or, if several are asked for, as many [B, asked, U]."""
    return h_BTU[:, -1] if asked is None else h_BTU[:, -asked:]
