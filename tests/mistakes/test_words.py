"""The numbers in the explanations of the catalogue."""

import math

import pytest
import torch
from torch import nn

from gradlab.mistakes.building_blocks import digits_dataset
from gradlab.mistakes.catalogue import CATALOGUE

WHY = {mistake.name: mistake.why for mistake in CATALOGUE}


@pytest.mark.parametrize(
    ("dtype", "below", "above"), [("float32", 16.5, 17.4), ("float16", 8.2, 8.4)]
)
def test_the_sigmoid_is_exactly_one_above_a_limit(dtype, below, above):
    limits = {"float32": "17 in float32", "float16": "8.3 in float16"}
    assert limits[dtype] in WHY["unclipped_sigmoid"]
    z = torch.tensor([below, above], dtype=getattr(torch, dtype))
    assert (torch.sigmoid(z) == 1).tolist() == [False, True]


def test_a_saturated_wrong_output_has_a_gradient_only_with_logits():
    assert "logit above 17" in WHY["sigmoid_before_bce"]
    z = torch.tensor([18.0], requires_grad=True)
    nn.BCELoss()(torch.sigmoid(z), torch.zeros(1)).backward()
    assert z.grad.item() == 0
    z.grad = None
    nn.BCEWithLogitsLoss()(z, torch.zeros(1)).backward()
    assert z.grad.item() == 1


def test_the_smallest_loss_after_two_softmaxes():
    assert "log(e + 9) - 1 = 1.46" in WHY["softmax_before_cross_entropy"]
    certain = nn.functional.one_hot(torch.tensor([3]), 10).double()
    assert nn.functional.cross_entropy(certain, torch.tensor([3])).item() == pytest.approx(
        math.log(math.e + 9) - 1
    )


def test_the_growth_through_a_layer_of_large_weights():
    assert "5.7 for std 1 and n = 64, and 5.7^8 is a million" in WHY["large_weights"]
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4096, 64, generator=generator, dtype=torch.float64).relu()
    after = (a @ torch.randn(64, 64, generator=generator, dtype=torch.float64)).relu()
    assert (after.square().mean() / a.square().mean()).sqrt().item() == pytest.approx(5.7, rel=0.1)
    assert pytest.approx(1e6, rel=0.05) == 32**4


def test_descent_is_stable_up_to_two_over_the_curvature():
    assert "below 2 / lr" in WHY["learning_rate"]
    for lr, grows in ((1.9, False), (2.1, True)):  # on a parabola with curvature 1
        w = torch.tensor(1.0, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=lr)
        for _ in range(20):
            optimizer.zero_grad()
            (w**2 / 2).backward()
            optimizer.step()
        assert (abs(w.item()) > 1) == grows


def test_the_initial_loss_scale():
    assert "65,536" in WHY["clip_before_unscale"]
    assert torch.amp.GradScaler("cpu").get_scale() == 65536


def test_label_ten_needs_one_more_output():
    assert "an error at label 10." in WHY["shifted_labels"]
    labels = digits_dataset().y_train + 1
    with pytest.raises(IndexError, match="out of bounds"):
        nn.functional.cross_entropy(torch.zeros(len(labels), 10), labels)


def test_mse_loss_warns_about_shapes():
    assert "`mse_loss` warns" in WHY["broadcast_target"]
    with pytest.warns(UserWarning, match="target size"):
        nn.functional.mse_loss(torch.zeros(4, 1), torch.zeros(4))
