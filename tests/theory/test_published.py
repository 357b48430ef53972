"""Theory against published numbers.

"Seen" means: I read the number when I wrote this test, at the place named. All other numbers are
from memory of the paper named; theory confirms them.
"""

import numpy as np
import pytest

import gradlab
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.theory.moments import Moments, average
from gradlab.theory.normalised import BatchStatistics
from gradlab.theory.phase import CriticalLine, critical_sigma_w, find_critical_point, length_map


def test_relu():
    """He et al. 2015, eq. 10: Var W = 2 / n; eq. 14, leaky with slope a: 2 / ((1 + a²) n)."""
    point = find_critical_point(ACTIVATIONS["relu"])
    assert (point.sigma_w**2, point.sigma_b, point.every_variance) == (pytest.approx(2), 0, True)
    leaky = find_critical_point(ACTIVATIONS["leaky_relu"])
    assert leaky.sigma_w**2 == pytest.approx(2 / (1 + 0.01**2), rel=1e-12)


def test_the_identity():
    """Saxe et al. 2014, section 3: deep linear networks preserve their signals at a gain of 1."""
    point = find_critical_point(ACTIVATIONS["identity"])
    assert (point.sigma_w, point.sigma_b) == (pytest.approx(1), 0)


def test_tanh_without_biases():
    """Poole et al. 2016, figure 1, Schoenholz et al. 2017, figure 1: (1, 0)."""
    point = find_critical_point(ACTIVATIONS["tanh"])
    assert (point.sigma_w, point.sigma_b, point.q) == (pytest.approx(1), 0, 0)


@pytest.mark.parametrize(
    ("sigma_b_2", "sigma_w_2", "digits"),
    [
        (0.05, 1.76, 0.005),  # Schoenholz et al. 2017, figure 5; Pennington et al. 2017, figure 2
        (2.01e-5, 1.05, 0.005),  # Xiao et al. 2018, section 3 (tanh, 10 000 layers)
        # Hayou et al. 2018, arXiv 1805.08266, by bisection: 1.722. Seen in code that copies it
        # (bionicles/neuromax, nature/bricks/chaos.py); 1.3% above the root.
        (0.04, 1.722, 0.025),
    ],
)
def test_tanh_with_biases(sigma_b_2, sigma_w_2, digits):
    found, _ = critical_sigma_w("tanh", sigma_b_2**0.5)
    assert found**2 == pytest.approx(sigma_w_2, abs=digits)


@pytest.mark.parametrize(("sigma_w", "name"), [(1.3, "ordered"), (2.5, "chaotic"), (4, "chaotic")])
def test_the_phases_of_poole(sigma_w, name):
    """Poole et al. 2016, figure 2: tanh at sigma_b = 0.3."""
    assert gradlab.phase("tanh", sigma_w, 0.3).phase == name


def test_the_variance_of_tanh_decays_as_one_over_twice_the_depth():
    """Roberts, Yaida & Hanin 2022, section 5.3.3: K = 1 / (2 l) at criticality, whatever K_1."""
    q = 1.0
    for _ in range(20_000):
        q = length_map(ACTIVATIONS["tanh"], q, 1.0, 0.0)
    assert q * 2 * 20_000 == pytest.approx(1, rel=0.01)


def test_selu():
    """Klambauer et al. 2017, theorem 1: mean 0 and variance 1 are a fixed point at sigma_w = 1."""
    at_1 = Moments(ACTIVATIONS["selu"], 1.0)
    assert (at_1.mean, at_1.square) == (pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-9))
    assert at_1.square_1 < 1  # it attracts
    assert gradlab.phase("selu", 1.0).chi_1 == pytest.approx(
        1.0716, abs=1e-3
    )  # computed here: it explodes


def test_gelu_is_half_stable():
    """Roberts, Yaida & Hanin 2022, section 5.3.4.

    Seen in several repositories that copy the digits: Cb = 0.17292239,
    CW = 1.98305826.
    """
    point = find_critical_point(ACTIVATIONS["gelu"])
    assert point.sigma_b**2 == pytest.approx(0.17292239, abs=5e-9)
    assert point.sigma_w**2 == pytest.approx(1.98305826, abs=5e-9)


def test_swish_is_half_stable_and_its_published_bias_is_wrong():
    """The same section, seen in the same code: Cb = 0.055514317, CW = 1.98800468.

    That Cb is a tenth of the root, with all its digits: at K = 14.32017362 (from memory) the fixed
    point needs 0.55514317. With 0.0555 and this CW no variance is a fixed point near there.
    """
    point = find_critical_point(ACTIVATIONS["silu"])
    assert point.sigma_w**2 == pytest.approx(1.98800468, abs=5e-9)
    assert point.q == pytest.approx(14.32017362, abs=5e-8)
    assert point.sigma_b**2 == pytest.approx(10 * 0.055514317, abs=5e-9)
    after = length_map(ACTIVATIONS["silu"], point.q, point.sigma_w, 0.055514317**0.5)
    assert after == pytest.approx(point.q - 0.49962885, abs=1e-6)


def test_the_published_point_of_swish_with_a_small_bias():
    """Hayou et al. 2018: (sigma_b², sigma_w²) = (0.04, 2.952), seen in the copy named above.

    It is 5% above the line. The line is unstable there: V' is 1.1, so variances leave the point.
    """
    line = CriticalLine(ACTIVATIONS["silu"])
    q = 0.68945
    assert line.sigma_b_2(q) == pytest.approx(0.04, abs=1e-5)
    assert line.sigma_w_2(q) == pytest.approx(2.952, rel=0.05)
    assert line.variance_slope(q) > 1.08


def test_batch_normalisation_of_relu():
    """Yang et al. 2019, section 3: ReLU networks' gradients grow by pi / (pi - 1) a layer, 1.21."""
    growth = BatchStatistics(ACTIVATIONS["relu"], np.inf).growth
    assert growth == pytest.approx(np.pi / (np.pi - 1), rel=1e-9)
    assert growth**0.5 == pytest.approx(1.21, abs=0.005)
    assert BatchStatistics(ACTIVATIONS["identity"], np.inf).growth == pytest.approx(1)


def test_relu_at_finite_width():
    """Hanin & Nica 2020, theorem 1: the logarithm of a squared gradient varies by 5 / n a layer."""
    assert Moments(ACTIVATIONS["relu"], 1.0).slope_noise == pytest.approx(5)
    one, two = (gradlab.predict([n] * 41, "relu", "kaiming_normal") for n in (1000, 2000))
    variance = (2 * np.log(10) * one["delta_sd"][0]) ** 2
    assert variance == pytest.approx(5 * 39 / 1000 + 2 / 1000, rel=0.02)
    assert one["delta_sd"][0] ** 2 == pytest.approx(2 * two["delta_sd"][0] ** 2, rel=0.02)


def test_sigmoid_divides_the_error_signal_by_at_least_four():
    """Hochreiter 1991: phi' is at most 1/4; Bradley 2010, Glorot & Bengio 2010."""
    assert ACTIVATIONS["sigmoid"].derivative(np.zeros(1))[0] == 0.25
    assert average(lambda z: ACTIVATIONS["sigmoid"].derivative(z) ** 2, 1e-12) == pytest.approx(
        1 / 16
    )
