"""A data set, split and standardised."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.errors import SettingsError


@dataclass(frozen=True)
class Dataset:
    """Samples to train on and samples held out.

    Attributes:
        name: as in `data=name`.
        task: "classification" or "regression".
        x_train: [N, F] float64, zero mean and unit variance per feature; constant features are 0.
        y_train: [N] int64 class indices, or [N, n_out] float64.
        x_test: held out, standardised with the training set's mean and variance.
        y_test: held out.
        n_out: number of classes, or of target columns.
    """

    name: str
    task: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    n_out: int


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[Tensor, Tensor]:
    """Shift and scale both by the mean and standard deviation of `train`, per column."""
    mean, std = train.mean(0), train.std(0)
    std = np.where(std > 0, std, np.inf)  # a constant feature becomes 0, in the held-out set too
    return torch.from_numpy((train - mean) / std), torch.from_numpy((test - mean) / std)


def split(
    x: np.ndarray, y: np.ndarray, test_fraction: float, stratify: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x_train, x_test, y_train, y_test: always the same split, whatever the run's seed.

    Raises:
        SettingsError: a side would be empty, or too small to hold every class.
    """
    from sklearn.model_selection import train_test_split

    try:
        x_train, x_test, y_train, y_test = map(
            np.asarray,
            train_test_split(
                x, y, test_size=test_fraction, random_state=0, stratify=y if stratify else None
            ),
        )
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise SettingsError(f"data.test_fraction={test_fraction} does not do: {told}") from error
    return x_train, x_test, y_train, y_test
