"""A data set, split into training and held-out samples, and standardised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlab.config.choices import wrap_errors
from gradlab.config.settings import Settings
from gradlab.errors import SettingsError


@dataclass(frozen=True)
class Dataset:
    """Training samples and held-out samples.

    Attributes:
        name: as in `data=name`.
        task: "classification" or "regression".
        x_train: [N, F] float64, zero mean and unit variance per feature; constant features are 0.
        y_train: [N] int64 class indices, or [N, n_out] float64.
        x_test: held-out samples, standardised with the training set's mean and variance.
        y_test: their targets.
        n_out: number of classes, or of target columns.
        x_mean: [F], means of the training set, in the features' units.
        x_std: [F], standard deviations; features are (x - x_mean) / x_std.
        features: the name of each feature, with its unit.
        target: name of the predicted quantity; for a regression, with its unit.
        y_mean: mean of a regression's targets, in that unit.
        y_std: their standard deviation; targets are (y - y_mean) / y_std.
        shape: shape of a sample before it was flattened: (rows, columns) or (steps, features).
        target_steps: steps at the end of a sample that have a target each, y [N, target_steps];
            None for one target per sample.
    """

    # attributes: a record without behaviour; all describe the same samples.

    name: str
    task: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    n_out: int
    x_mean: Tensor
    x_std: Tensor
    features: tuple[str, ...]
    target: str
    y_mean: float = 0.0
    y_std: float = 1.0
    shape: tuple[int, int] | None = None
    target_steps: int | None = None


class Standardised(NamedTuple):
    """Both sets, in units of the training set's standard deviation from its mean, per column."""

    train: Tensor
    test: Tensor
    mean: Tensor
    std: Tensor


def load(settings: Settings) -> Dataset:
    """Return the data of a run.

    Raises:
        SettingsError: the settings are invalid, or the data do not fit in memory.
    """
    with wrap_errors(f"data={settings.data.name} cannot be loaded"):
        return settings.data.call()


def standardise(
    train: np.ndarray, test: np.ndarray, sequence: tuple[int, int] | None = None
) -> Standardised:
    """Shift and scale both sets by the mean and standard deviation of `train`, per column.

    In a sequence, a feature has one mean and one standard deviation for all steps. So a feature
    that is constant at one step still differs from the other steps.

    Args:
        train: [N, F].
        test: [M, F].
        sequence: (steps, features) with F = steps · features; None if a sample is not a sequence.

    Returns:
        Both sets, and the mean and standard deviation per column, [F].
    """
    steps, features = sequence or (1, train.shape[1])
    pooled = train.reshape(-1, features)
    mean, std = np.tile(pooled.mean(0), steps), np.tile(pooled.std(0), steps)
    scale = np.where(std > 0, std, np.inf)  # a constant feature becomes 0, in the held-out set too
    both = (train - mean) / scale, (test - mean) / scale
    return Standardised(*map(torch.from_numpy, (*both, mean, std)))


def regression(
    name: str,
    x_all: np.ndarray,
    y_all: np.ndarray,
    test_fraction: float,
    features: Sequence[str],
    target: str,
    sequence: tuple[int, int] | None = None,
) -> Dataset:
    """Split features and targets, standardise both, and return them as a regression.

    A constant prediction of the mean then has a mean squared error of 1.

    Args:
        name: as in `data=name`.
        x_all: features, [N, F].
        y_all: targets, [N].
        test_fraction: the share of held-out samples.
        features: the name of each feature, with its unit.
        target: the name of the target, with its unit.
        sequence: (steps, features) with F = steps · features; None if a sample is not a sequence.

    Returns:
        The data set.
    """
    x_train, x_test, y_train, y_test = split(x_all, y_all[:, None], test_fraction, stratify=False)
    x, y = standardise(x_train, x_test, sequence), standardise(y_train, y_test)
    return Dataset(
        name=name,
        task="regression",
        x_train=x.train,
        y_train=y.train,
        x_test=x.test,
        y_test=y.test,
        n_out=1,
        x_mean=x.mean,
        x_std=x.std,
        features=tuple(features),
        target=target,
        y_mean=float(y.mean),
        y_std=float(y.std),
        shape=sequence,
    )


def split(
    x: np.ndarray, y: np.ndarray, test_fraction: float, stratify: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split samples into training and held-out samples, independently of the run's seed.

    Args:
        x: features, [N, F].
        y: targets, [N] or [N, n_out].
        test_fraction: the share of held-out samples.
        stratify: whether both sides get the same share of each class.

    Returns:
        x_train, x_test, y_train, y_test.

    Raises:
        SettingsError: a side would be empty, or too small to contain every class.
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
        reason = str(error).splitlines()[0]
        raise SettingsError(f"data.test_fraction={test_fraction} is invalid: {reason}") from error
    return x_train, x_test, y_train, y_test
