"""The adding problem: two numbers of a long sequence are marked, and their sum is asked for."""

import numpy as np

from gradlab.data.dataset import Dataset, regression

SEED = 0


def adding(length: int, samples: int, test_fraction: float) -> Dataset:
    """Return sequences of `length` steps of two features, and the sum of two; always the same ones.

    Each step has a number, uniform in [0, 1], and a mark: 1 at one step of the first half and one
    of the second, drawn uniformly, else 0. The target is the sum of the marked numbers, of mean 1
    and variance 1/6 (Hochreiter & Schmidhuber 1997, experiment 4, as in Le et al. 2015, section
    4.1). Who always says the mean has a mean squared error of 1, in units of that variance.

    Args:
        length: steps, at least 2.
        samples: how many.
        test_fraction: the share that is held out.
    """
    x, total = draw(length, samples, np.random.default_rng(SEED))
    features = [f"{name} {t}" for t in range(1, length + 1) for name in ("number", "mark")]
    flat, shape = x.reshape(samples, -1), (length, 2)
    return regression("adding", flat, total, test_fraction, features, "sum", shape)


def draw(length: int, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences [N, T, 2] and the sums [N] of their marked numbers."""
    half, each = length // 2, np.arange(samples)
    numbers, marks = rng.random((samples, length)), np.zeros((samples, length))
    first, second = rng.integers(0, half, samples), rng.integers(half, length, samples)
    marks[each, first] = marks[each, second] = 1.0
    return np.stack([numbers, marks], -1), numbers[each, first] + numbers[each, second]
