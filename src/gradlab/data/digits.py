"""scikit-learn's handwritten digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from gradlab.data.dataset import Dataset, split, standardise


def digits(test_fraction: float) -> Dataset:
    """Return 1,797 handwritten digits of 8 x 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    x, y = map(np.asarray, load_digits(return_X_y=True))
    x_train, x_test, y_train, y_test = split(x, y, test_fraction, stratify=True)
    train, test = standardise(x_train, x_test)
    return Dataset(
        name="digits",
        task="classification",
        x_train=train,
        y_train=torch.from_numpy(y_train).long(),
        x_test=test,
        y_test=torch.from_numpy(y_test).long(),
        n_out=10,
    )
