"""The losses by hand, compared with torch and exact arithmetic, also where naive forms fail."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from gradlab.config import choices
from gradlab.reference.loss_functions import (
    BCE,
    LOSSES,
    BinaryFocal,
    CrossEntropy,
    Focal,
    Huber,
    Scaled,
    log_sigmoid,
)
from tests.reference.networks import numpy_loss, torch_loss

CLASSES = ["cross_entropy", "focal", "bce", "binary_focal"]


def test_every_loss_of_the_project_is_written_by_hand():
    assert set(LOSSES) == set(choices.names("loss"))


def numbers_or_classes(name, shape, rng):
    if name in CLASSES:
        return rng.integers(0, shape[1], shape[0])
    return 2 * rng.normal(size=shape)


@pytest.mark.parametrize("shape", [(1, 2), (6, 3), (5, 10)])
@pytest.mark.parametrize("targets", ["usual", "classes", "probabilities"])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_derivatives_equal_torchs(name, targets, shape):
    rng = np.random.default_rng(0)
    output, target = 3 * rng.normal(size=shape), numbers_or_classes(name, shape, rng)
    if targets == "classes":
        target = rng.integers(0, shape[1], shape[0])
    elif targets == "probabilities":
        target = (
            np.eye(shape[1])[target] if name == "focal" else rng.dirichlet([1] * shape[1], shape[0])
        )
    tensor = torch.from_numpy(output).requires_grad_()
    value = torch_loss(name)(tensor, torch.from_numpy(target))
    value.backward()
    assert numpy_loss(name).value(output, target) == pytest.approx(value.item(), rel=1e-12)
    slope = numpy_loss(name).derivative(output, target)
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_ten_thousand_do_not_overflow(name, dtype):
    ends = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype)
    output = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)
    for target in (np.zeros(25, int), np.ones(25, int)):
        given = target if name in CLASSES else np.eye(2, dtype=dtype)[target]
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            value = numpy_loss(name).value(output, given)
            slope = numpy_loss(name).derivative(output, given)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
        assert slope.dtype == dtype
        tensor = torch.from_numpy(output).requires_grad_()
        loss = torch_loss(name)(tensor, torch.from_numpy(given))
        loss.backward()
        assert loss.isfinite()
        assert tensor.grad.isfinite().all()


def test_the_naive_forms_fail_where_the_docstring_states():
    z = np.array([[40.0]])
    naive = 1 / (1 + np.exp(-z))
    assert naive == 1.0
    with np.errstate(divide="ignore"):
        assert np.log(1 - naive) == -np.inf
    assert BCE().value(z, np.array([[0.0]])) == pytest.approx(40.0)
    with np.errstate(over="ignore", invalid="ignore"):
        row = np.exp(np.array([710.0, 0.0]))
        assert np.isnan((row / row.sum())[0])
    assert CrossEntropy().value(np.array([[710.0, 0.0]]), np.array([1])) == pytest.approx(710.0)
    assert log_sigmoid(np.array([-1e4]))[0] == -1e4


def test_derivatives_are_not_zero_where_the_probability_becomes_exactly_one():
    with mp.workdps(50):
        exact = float(-1 / (1 + mp.exp(mpf(45))))
    assert BCE().derivative(np.array([[45.0]]), np.array([[1.0]]))[0, 0] == pytest.approx(exact)
    logits = np.array([[45.0, 0.0]])
    slope = CrossEntropy().derivative(logits, np.array([0]))
    np.testing.assert_allclose(slope, [[exact, -exact]], rtol=1e-12)


def exact_focal(z, true, gamma):
    total = sum(mp.exp(v) for v in z)
    p = mp.exp(z[true]) / total
    return -((1 - p) ** gamma) * mp.log(p)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_focal_against_exact_arithmetic(gamma, scale):
    rng = np.random.default_rng(1)
    logits = scale * rng.normal(size=4)
    with mp.workdps(80):
        for true in range(4):
            z = [mpf(float(v)) for v in logits]
            output, target = logits[None], np.array([true])
            loss = Focal(gamma)
            expected = float(exact_focal(z, true, gamma))
            assert loss.value(output, target) == pytest.approx(expected, rel=1e-11)
            slopes = loss.derivative(output, target)[0]
            for k in range(4):

                def moved(v, k=k, z=z, true=true):
                    return exact_focal([*z[:k], v, *z[k + 1 :]], true, gamma)

                assert slopes[k] == pytest.approx(float(mp.diff(moved, z[k])), rel=1e-9, abs=1e-290)


@pytest.mark.parametrize("name", LOSSES)
def test_focal_with_gamma_zero_is_the_cross_entropy(name):
    rng = np.random.default_rng(2)
    output, target = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    assert Focal(0.0).value(output, target) == pytest.approx(CrossEntropy().value(output, target))
    half = BinaryFocal(gamma=0.0, alpha=0.5)
    assert 2 * half.value(output, target) == pytest.approx(BCE().value(output, target))
    np.testing.assert_allclose(
        2 * half.derivative(output, target), BCE().derivative(output, target), rtol=1e-12
    )


def test_focal_with_two_classes_equals_binary_focal_with_one_logit():
    z = np.array([[1.3], [-0.4], [6.0]])
    two = np.concatenate([z, np.zeros_like(z)], axis=1)
    binary = BinaryFocal(gamma=2.0, alpha=0.5).value(z, np.ones_like(z))
    assert Focal(2.0).value(two, np.zeros(3, int)) == pytest.approx(2 * binary, rel=1e-12)


@given(st.floats(0.1, 5), st.floats(-20, 20))
def test_huber_is_quadratic_for_small_errors_and_linear_for_large_ones(delta, e):
    loss, output, target = Huber(delta), np.array([[e]]), np.zeros((1, 1))
    expected = e**2 / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2)
    assert loss.value(output, target) == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert abs(loss.derivative(output, target)[0, 0]) <= delta


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_repeated_twice_has_the_same_loss_and_half_the_derivative(name):
    rng = np.random.default_rng(3)
    output = rng.normal(size=(4, 3))
    target = numbers_or_classes(name, (4, 3), rng)
    loss = numpy_loss(name)
    twice, both = np.concatenate([output, output]), np.concatenate([target, target])
    assert loss.value(twice, both) == pytest.approx(loss.value(output, target), rel=1e-14)
    np.testing.assert_allclose(
        2 * loss.derivative(twice, both)[:4], loss.derivative(output, target), rtol=1e-12
    )
    scaled = Scaled(loss, 3.0)
    assert scaled.value(output, target) == pytest.approx(3 * loss.value(output, target))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_can_be_stacked(name):
    rng = np.random.default_rng(4)
    outputs = torch.from_numpy(rng.normal(size=(3, 5, 4)))
    target = np.stack([numbers_or_classes(name, (5, 4), rng) for _ in range(3)])
    targets = torch.from_numpy(target)
    together = torch.func.vmap(torch_loss(name))(outputs, targets)
    alone = [torch_loss(name)(o, t) for o, t in zip(outputs, targets, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-12, atol=0)
