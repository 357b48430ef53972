"""Two tasks with long sequences: adding two marked numbers, and copying symbols after a delay.

Both are drawn from a fixed seed, so a configuration always gives the same samples.
"""

import numpy as np
import torch

from gradlab.data.dataset import Dataset, regression, split, standardise

SEED = 0


def adding(length: int, samples: int, test_fraction: float) -> Dataset:
    """Return sequences of `length` steps of two features, and the sum of two; always the same ones.

    Each step has a number, uniform in [0, 1], and a mark: 1 at one step of the first half and one
    of the second, drawn uniformly, else 0. The target is the sum of the marked numbers, of mean 1
    and variance 1/6 (Hochreiter & Schmidhuber 1997, experiment 4, as in Le et al. 2015, section
    4.1). A constant prediction of the mean has a mean squared error of 1 in units of that variance.

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


def copying(delay: int, copied: int, symbols: int, samples: int, test_fraction: float) -> Dataset:
    """Return sequences that begin with symbols to be repeated at their end; always the same ones.

    `copied` symbols, each one of `symbols`, drawn uniformly; then `delay` steps of which the last
    is the call to repeat them and the others are blank; then `copied` blank steps, at which the
    symbols are the targets, in their order (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016,
    section 4.1). A step is one-hot: symbols, blank, call. Who knows nothing has a cross-entropy of
    ln(symbols).

    Args:
        delay: steps between the last symbol and the first target.
        copied: how many symbols.
        symbols: how many kinds of them.
        samples: how many.
        test_fraction: the share that is held out.
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
    """Return the sequences [N, T, symbols + 2] of symbols [N, copied]."""
    samples, copied = kinds.shape
    blank, call = symbols, symbols + 1
    steps = np.full((samples, 2 * copied + delay), blank)
    steps[:, :copied] = kinds
    steps[:, copied + delay - 1] = call
    return np.eye(symbols + 2)[steps]
