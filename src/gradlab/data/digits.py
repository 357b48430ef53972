"""scikit-learn's handwritten digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from gradlab.data.dataset import Dataset, split, standardise


def digits(test_fraction: float) -> Dataset:
    """Return 1,797 handwritten digits of 8 x 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    x_train, x_test, y_train, y_test = split(pixels, labels, test_fraction, stratify=True)
    x = standardise(x_train, x_test)
    return Dataset(
        name="digits",
        task="classification",
        x_train=x.train,
        y_train=torch.from_numpy(y_train).long(),
        x_test=x.test,
        y_test=torch.from_numpy(y_test).long(),
        n_out=10,
        x_mean=x.mean,
        x_std=x.std,
        features=tuple(f"pixel {row},{column}" for row in range(8) for column in range(8)),
        target="digit",
        shape=(8, 8),
    )
