"""Data sets: standardised on the training set only, always split in the same way."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.config import choices
from gradlab.data.sequences import draw, one_hot
from gradlab.errors import SettingsError
from tests.configs import settings

SEQUENCES = ("adding", "copying")


@pytest.mark.parametrize("name", choices.names("data"))
def test_standardised_on_the_training_set(name):
    data = settings(data=name, loss="mse").data.call()
    x, x_test = data.x_train, data.x_test
    if name in SEQUENCES:  # there a feature is one at every step
        x, x_test = (each.reshape(-1, data.shape[1]) for each in (x, x_test))
    mean, variance = x.mean(0), x.var(0, correction=0)
    constant = (x == 0).all(0)
    assert data.name == name
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-12, rtol=0)
    torch.testing.assert_close(variance[~constant], torch.ones_like(variance[~constant]))
    assert not x_test[:, constant].any()
    # Were the held-out samples standardised on themselves, their mean would be 0 too.
    assert x_test[:, ~constant].mean(0).abs().max() > 1e-4
    assert x.dtype == x_test.dtype == torch.float64
    again = settings(data=name, loss="mse").data.call()
    assert torch.equal(again.x_train, data.x_train)
    assert torch.equal(again.y_test, data.y_test)


def test_digits():
    data = settings().data.call()
    assert (len(data.x_train), len(data.x_test), data.x_train.shape[1]) == (1437, 360, 64)
    shares = [torch.bincount(y) / len(y) for y in (data.y_train, data.y_test)]
    torch.testing.assert_close(*shares, atol=0.005, rtol=0)


def test_diabetes():
    data = settings(data="diabetes", loss="mse").data.call()
    assert data.y_train.shape == (353, 1)
    assert float(data.y_train.mean()) == pytest.approx(0, abs=1e-12)


def test_a_fraction_that_leaves_a_class_out_is_refused():
    with pytest.raises(SettingsError, match=r"data\.test_fraction=0\.001 is invalid"):
        settings(data__test_fraction=0.001).data.call()


def unstandardised(data, x):
    """Return samples [N, T, F] before standardisation."""
    return (x * data.x_std + data.x_mean).unflatten(-1, data.shape)


@given(length=st.integers(2, 40), seed=st.integers(0, 100))
def test_the_target_of_adding_is_the_sum_of_one_number_of_each_half(length, seed):
    x, total = draw(length, 20, np.random.default_rng(seed))
    numbers, marks = x[..., 0], x[..., 1]
    assert set(np.unique(marks)) <= {0.0, 1.0}
    assert (marks[:, : length // 2].sum(1) == 1).all()
    assert (marks[:, length // 2 :].sum(1) == 1).all()
    assert ((numbers >= 0) & (numbers < 1)).all()
    np.testing.assert_allclose((numbers * marks).sum(1), total, rtol=1e-12)


def test_a_run_gets_the_adding_task():
    data = settings(data="adding", loss="mse", data__length=10, data__samples=3000).data.call()
    assert data.shape == (10, 2)
    assert data.target_steps is None
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        numbers, marks = unstandardised(data, x).unbind(-1)
        total = y[:, 0] * data.y_std + data.y_mean
        torch.testing.assert_close((numbers * marks).sum(1), total)
    assert data.y_mean == pytest.approx(1.0, abs=0.03)
    assert data.y_std**2 == pytest.approx(1 / 6, rel=0.06)


@given(delay=st.integers(1, 20), copied=st.integers(1, 6), symbols=st.integers(2, 9))
def test_copying_shows_each_symbol_once_and_then_the_call(delay, copied, symbols):
    kinds = np.random.default_rng(0).integers(0, symbols, (7, copied))
    x = one_hot(kinds, delay, symbols)
    assert x.shape == (7, 2 * copied + delay, symbols + 2)
    assert (x.sum(-1) == 1).all()
    shown = x.argmax(-1)
    np.testing.assert_array_equal(shown[:, :copied], kinds)
    call = copied + delay - 1
    assert (shown[:, call] == symbols + 1).all()
    assert (np.delete(shown[:, copied:], call - copied, 1) == symbols).all()


def test_a_run_gets_the_copying_task():
    data = settings(data="copying", data__delay=4, data__copied=3, data__samples=500).data.call()
    assert (data.shape, data.target_steps, data.n_out) == ((10, 10), 3, 8)
    shown = unstandardised(data, data.x_train).argmax(-1)
    assert torch.equal(shown[:, :3], data.y_train)
    # The call always comes at the same step, and still differs from the other steps.
    steps = data.x_train.unflatten(-1, data.shape)
    assert not torch.equal(steps[:, 6], steps[:, 5])
