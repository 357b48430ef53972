"""Data sets: real, standardised on the training set alone, always split the same way."""

import pytest
import torch

from gradlab import choices
from gradlab.errors import SettingsError
from tests.configs import settings


@pytest.mark.parametrize("name", choices.names("data"))
def test_standardised_on_the_training_set(name):
    data = settings(data=name, loss="mse").data.call()
    x = data.x_train
    mean, variance = x.mean(0), x.var(0, correction=0)
    constant = (x == 0).all(0)
    assert data.name == name
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-12, rtol=0)
    torch.testing.assert_close(variance[~constant], torch.ones_like(variance[~constant]))
    assert not data.x_test[:, constant].any()
    # Were the held-out samples standardised on themselves, their mean would be 0 too.
    assert data.x_test[:, ~constant].mean(0).abs().max() > 0.01
    assert x.dtype == data.x_test.dtype == torch.float64
    again = settings(data=name, loss="mse").data.call()
    assert torch.equal(again.x_train, x)
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


def test_a_fraction_that_leaves_a_class_out_is_the_users_mistake():
    with pytest.raises(SettingsError, match=r"data\.test_fraction=0\.001 does not do"):
        settings(data__test_fraction=0.001).data.call()
