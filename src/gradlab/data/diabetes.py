"""scikit-learn's diabetes data: a regression."""

import numpy as np
from sklearn.datasets import load_diabetes

from gradlab.data.dataset import Dataset, regression


def diabetes(test_fraction: float) -> Dataset:
    """Return 442 patients, 10 features, disease progression after a year (Efron et al. 2004)."""
    x, y = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))
    names = ["age", "sex", "bmi", "blood pressure", *[f"serum {i}" for i in range(1, 7)]]
    return regression("diabetes", x, y, test_fraction, names, "progression")
