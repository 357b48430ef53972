"""Two tasks with long sequences: adding two marked numbers, and copying symbols after a delay.

Both use a fixed seed, so a configuration always gives the same samples.
"""

import numpy as np
import torch

from gradlab.data.dataset import Dataset, regression, split, standardise

SEED = 0


def adding(length: int, samples: int, test_fraction: float) -> Dataset:
    """Return the adding task: the target is the sum of two marked numbers in a sequence.

    Each step has a number, uniform in [0, 1], and a mark. The mark is 1 at one random step of the
    first half and at one of the second half, else 0. The target has mean 1 and variance 1/6. A
    constant prediction of the mean has a mean squared error of 1 in units of that variance.

    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Le et al. 2015, section 4.1.

    Args:
        length: steps of a sequence, at least 2.
        samples: number of samples.
        test_fraction: the share of held-out samples.

    Returns:
        The data set; a sample is flattened from (length, 2).
    """
    x, total = draw(length, samples, np.random.default_rng(SEED))
    features = [f"{name} {t}" for t in range(1, length + 1) for name in ("number", "mark")]
    flat, shape = x.reshape(samples, -1), (length, 2)
    return regression("adding", flat, total, test_fraction, features, "sum", shape)


def draw(length: int, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw sequences of the adding task.

    Args:
        length: steps of a sequence.
        samples: number of samples, N.
        rng: the source of random numbers.

    Returns:
        Sequences [N, length, 2], and the sums [N] of their marked numbers.
    """
    half, each = length // 2, np.arange(samples)
    numbers, marks = rng.random((samples, length)), np.zeros((samples, length))
    first, second = rng.integers(0, half, samples), rng.integers(half, length, samples)
    marks[each, first] = marks[each, second] = 1.0
    return np.stack([numbers, marks], -1), numbers[each, first] + numbers[each, second]


def copying(delay: int, copied: int, symbols: int, samples: int, test_fraction: float) -> Dataset:
    """Return the copying task: repeat the first symbols of a sequence after a delay.

    A sequence begins with `copied` symbols, drawn uniformly. Then come `delay` steps: blanks, and
    at the last step the call to repeat the symbols. Then come `copied` blank steps, whose targets
    are the symbols in their order. A step is one-hot: symbols, blank, call. Guessing gives a
    cross-entropy of ln(symbols).

    Source: Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016, section 4.1.

    Args:
        delay: steps between the last symbol and the first target.
        copied: number of symbols to copy.
        symbols: number of different symbols.
        samples: number of samples.
        test_fraction: the share of held-out samples.

    Returns:
        The data set; a sample is flattened from (2 copied + delay, symbols + 2).
    """
    kinds = np.random.default_rng(SEED).integers(0, symbols, (samples, copied))
    flat = one_hot(kinds, delay, symbols).reshape(samples, -1)
    x_train, x_test, y_train, y_test = split(flat, kinds, test_fraction, stratify=False)
    steps, _ = shape = (2 * copied + delay, symbols + 2)
    x = standardise(x_train, x_test, shape)
    names = [*[f"symbol {k}" for k in range(symbols)], "blank", "call"]
    return Dataset(
        name="copying",
        task="classification",
        x_train=x.train,
        y_train=torch.from_numpy(y_train).long(),
        x_test=x.test,
        y_test=torch.from_numpy(y_test).long(),
        n_out=symbols,
        x_mean=x.mean,
        x_std=x.std,
        features=tuple(f"{name}, step {t}" for t in range(1, steps + 1) for name in names),
        target="symbols",
        shape=shape,
        target_steps=copied,
    )


def one_hot(kinds: np.ndarray, delay: int, symbols: int) -> np.ndarray:
    """Return the one-hot sequences of the copying task.

    Args:
        kinds: the symbols to copy, [N, copied].
        delay: steps between the last symbol and the first target.
        symbols: number of different symbols.

    Returns:
        Sequences, [N, 2 copied + delay, symbols + 2].
    """
    samples, copied = kinds.shape
    blank, call = symbols, symbols + 1
    steps = np.full((samples, 2 * copied + delay), blank)
    steps[:, :copied] = kinds
    steps[:, copied + delay - 1] = call
    return np.eye(symbols + 2)[steps]
