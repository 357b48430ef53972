"""The loss of the best constant output against closed forms."""

import pytest
import torch

from gradlab.data.dataset import load
from gradlab.training.constant_output import constant_loss
from tests.configs import settings


def constant_loss_of(**overrides):
    run = settings(**overrides)
    dataset = load(run)
    return constant_loss(run.loss.component, dataset), dataset.y_train


def test_cross_entropy_is_the_entropy_of_the_labels():
    for overrides in ({"data": "digits"}, {"data": "copying", "model": "rnn"}):
        found, labels = constant_loss_of(**overrides)
        share = torch.bincount(labels.flatten()) / labels.numel()
        share = share[share > 0].double()
        assert found == pytest.approx(float(-(share * share.log()).sum()), rel=1e-6)


def test_the_squared_error_is_the_variance_of_the_targets():
    found, targets = constant_loss_of(data="diabetes", loss="mse")
    assert found == pytest.approx(float(targets.var(correction=0)), rel=1e-9)


@pytest.mark.parametrize("loss", ["focal", "bce", "binary_focal", "huber"])
def test_no_constant_output_of_a_grid_is_better(loss):
    found, labels = constant_loss_of(loss=loss)
    component = settings(loss=loss).loss.component
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 0.1, 1.0, 3.0):
        output = scale * torch.randn(10, generator=generator, dtype=torch.float64)
        assert float(component.call(output.expand(len(labels), 10), labels)) >= found - 1e-9
