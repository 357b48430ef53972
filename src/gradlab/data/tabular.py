"""Data sets in which a sample is one row of features: digits, diabetes, deliveries.

Digits and diabetes come with scikit-learn. Deliveries are simulated, so their true law is known.
"""

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

from gradlab.data.dataset import Dataset, regression, split, standardise


def digits(test_fraction: float) -> Dataset:
    """Return 1,797 handwritten digits of 8 x 8 pixels in 10 classes (Alpaydin & Kaynak 1998)."""
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


def diabetes(test_fraction: float) -> Dataset:
    """Return disease progression after a year, for 442 people (Efron et al. 2004)."""
    x, y = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))
    names = ["age", "sex", "bmi", "blood pressure", *[f"serum {i}" for i in range(1, 7)]]
    return regression("diabetes", x, y, test_fraction, names, "progression")


FEATURES = (
    "distance (km)",
    "traffic (0-1)",
    "preparation (min)",
    "stops",
    "rain (0/1)",
    "experience (years)",
)
SEED = 0


def delivery(samples: int, noise: float, test_fraction: float) -> Dataset:
    """Return simulated deliveries; the target is the minutes that a delivery takes.

    Features: distance (km, gamma with mean 4), traffic (0 to 1, more often light), preparation
    (minutes, normal 12 ± 4, at least 2), stops on the way (Poisson with mean 0.8), rain (one in
    four), experience of the courier (years, exponential with mean 2).

        speed   = 24 km/h · (1 - 0.6 traffic) · (0.8 if it rains)
        minutes = preparation + 60 distance / speed + 4 stops · exp(-experience / 3) + noise

    A configuration always gives the same samples.

    Args:
        samples: number of deliveries.
        noise: standard deviation of the normal noise, in minutes.
        test_fraction: the share of held-out samples.

    Returns:
        The data set.
    """
    x, minutes = draw(samples, np.random.default_rng(SEED))
    minutes += noise * np.random.default_rng(SEED + 1).standard_normal(samples)
    return regression("delivery", x, minutes, test_fraction, FEATURES, "minutes")


def draw(samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw features [N, 6], in physical units, and minutes [N] without noise."""
    distance = rng.gamma(2.0, 2.0, samples)
    traffic = rng.beta(2.0, 3.0, samples)
    preparation = np.maximum(rng.normal(12.0, 4.0, samples), 2.0)
    stops = rng.poisson(0.8, samples).astype(float)
    rain = (rng.random(samples) < 0.25).astype(float)
    experience = rng.exponential(2.0, samples)
    speed = 24 * (1 - 0.6 * traffic) * np.where(rain > 0, 0.8, 1.0)
    minutes = preparation + 60 * distance / speed + 4 * stops * np.exp(-experience / 3)
    return np.stack([distance, traffic, preparation, stops, rain, experience], axis=1), minutes
