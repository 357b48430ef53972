"""A data set, split and standardised."""

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
    """Samples to train on and samples held out.

    Attributes:
        name: as in `data=name`.
        task: "classification" or "regression".
        x_train: [N, F] float64, zero mean and unit variance per feature; constant features are 0.
        y_train: [N] int64 class indices, or [N, n_out] float64.
        x_test: held out, standardised with the training set's mean and variance.
        y_test: held out.
        n_out: number of classes, or of target columns.
        x_mean: [F], of the training set, in the features' own units.
        x_std: [F], likewise; features are (x - x_mean) / x_std.
        features: what each is called, with its unit.
        target: name of the predicted quantity; for a regression, with its unit.
        y_mean: of a regression's targets, in that unit.
        y_std: likewise; targets are (y - y_mean) / y_std.
        shape: of a sample before it was laid flat: (rows, columns) or (steps, features).
        target_steps: steps at the end of a sample that have a target each, y [N, target_steps];
            None for one target a sample.
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
    """Both sets in units of the training set's standard deviation from its mean, per column."""

    train: Tensor
    test: Tensor
    mean: Tensor
    std: Tensor


def load(settings: Settings) -> Dataset:
    """Return the data of a run.

    Raises:
        SettingsError: there is none of these settings, or it does not fit in memory.
    """
    with wrap_errors(f"data={settings.data.name} cannot be had"):
        return settings.data.call()


def standardise(
    train: np.ndarray, test: np.ndarray, sequence: tuple[int, int] | None = None
) -> Standardised:
    """Shift and scale both by the mean and standard deviation of `train`, per column.

    The columns of a `sequence` of (steps, features) are one feature at every step: a value that is
    constant at one step, such as a call that always comes at the same time, still differs from the
    other steps.
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
    """Return a regression from features [N, F] and targets [N]: split, both standardised.

    A constant prediction of the mean then has a mean squared error of 1. Features may be a
    `sequence` of (steps, features), laid flat.
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
        reason = str(error).splitlines()[0]
        raise SettingsError(f"data.test_fraction={test_fraction} is invalid: {reason}") from error
    return x_train, x_test, y_train, y_test
