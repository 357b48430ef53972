"""scikit-learn's diabetes data: a regression."""

import numpy as np
from sklearn.datasets import load_diabetes

from gradlab.data.dataset import Dataset, split, standardise


def diabetes(test_fraction: float) -> Dataset:
    """Return 442 patients, 10 features, disease progression after a year (Efron et al. 2004).

    The target is standardised like the features, so a mean squared error of 1 is that of the mean.
    """
    x, y = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))
    x_train, x_test, y_train, y_test = split(x, y[:, None], test_fraction, stratify=False)
    train, test = standardise(x_train, x_test)
    y_train, y_test = standardise(y_train, y_test)
    return Dataset(
        name="diabetes",
        task="regression",
        x_train=train,
        y_train=y_train,
        x_test=test,
        y_test=y_test,
        n_out=1,
    )
