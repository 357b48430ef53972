"""Residual networks: h_1 = phi(z_1), h_l = h_{l-1} + s phi(z_l), z_l = W_l h_{l-1} + b_l.

Let p = E h², mu = E h, q_l = s_l p_{l-1} + Var b_l and s_l = n Var W_l, with phi and phi' at q_l.
Then (Yang & Schoenholz 2017, theorems 2 and 5, for odd phi, where mu is 0):

    p_l = p_{l-1} + s² E phi² + 2 s mu_{l-1} E phi,     mu_l = mu_{l-1} + s E phi
    ‖dLoss/dh_{l-1}‖² = ‖dLoss/dh_l‖² (1 + s² chi_l),   chi_l = s_l E phi'²
    delta_l = s phi'(z_l) ∘ dLoss/dh_l                  (without s at l = 1)

With s = 1/sqrt(L), all layers together multiply by at most e^chi, at any depth (Zhang et al. 2019;
Hayou et al. 2021). To first order in 1/n, and for independent weights, the backward noise of a
block has the variance

    (4 s² chi + s⁴ chi² kappa) / n / (1 + s² chi)²,     kappa = 3 E phi'⁴ / m² - 1

p and mu vary together: a 2 x 2 matrix carries their noise forward. Where units have a mean, as with
ReLU, the signal grows faster than the gradient. Then the part of the gradient that is parallel to
the signal (see `plain`) dominates a deep network with s = 1. The code follows it separately. Second
derivatives of the averages are left out.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from gradlab.reference.activation_functions import Activation, Array
from gradlab.theory.frame import Prediction
from gradlab.theory.moments import Moments, Noise
from gradlab.theory.plain import log_moments
from gradlab.theory.variance import Variance


class ResidualBlock:
    """A hidden layer: p and mu after it, and the noise that it adds and carries on.

    Attributes:
        p: E h².
        mu: E h.
        scale: s_l.
        chi: s² s_l E phi'², the branch's gain of a squared gradient; 0 at the first layer.
        back: variance of ln ‖dLoss/dh_{l-1}‖² / ‖dLoss/dh_l‖².
    """

    # attributes: the quantities of one block, in the paper's notation.

    def __init__(
        self, phi: Activation, linear: Variance, before: tuple[float, float], skip: bool, s: float
    ) -> None:
        """Compute the block from the signal before it.

        Args:
            phi: the activation.
            linear: the variances of W_l and b_l.
            before: E h² and E h before the block.
            skip: whether h_{l-1} is added; False at the first layer.
            s: the scale of the branch.
        """
        p, self.mu_before = before
        self.s, self.p_before, self.skip = s, p, skip
        self.scale = linear.scale(p)
        self.fixed = linear.fixed is not None
        q = self.scale * p + linear.bias
        self.m = m = Moments(phi, q)
        self.n = n = linear.n_out
        self.radius = 0.0 if self.fixed else q**2 * linear.radius(self.scale * p / q)
        self.p = skip * p + s**2 * m.square + 2 * s * skip * self.mu_before * m.mean
        self.mu = skip * self.mu_before + s * m.mean
        self.chi = s**2 * self.scale * m.slope if skip else 0.0
        self.forward_noise = Noise(m, n, 0.0)
        kappa = 3 * (m.fourth - 1) + n * linear.back
        self.back = (4 * self.chi + self.chi**2 * kappa) / n / (1 + self.chi) ** 2

    @property
    def part(self) -> float:
        """Return the branch's part of the squared gradient, chi / (1 + chi)."""
        return self.chi / (1 + self.chi)

    def propagate_back(self, g: Array, t: Array) -> tuple[Array, Array]:
        """Return ‖g‖² and (g · h)² / (n p) of g = dLoss/dh before the block, from both after it.

        g has the part t along h_l and no other preferred direction. Its products with h_{l-1} and
        with z phi' matter, because the weights return a multiple of h_{l-1}.
        """
        m, s, mu, p = self.m, self.s, self.mu_before, self.p_before
        zp, zpp = 2 * m.q * m.mean_1, m.q * m.square_1  # E z phi', E z phi' phi
        w = self.scale * p / m.q
        y = np.array([[p, w * mu * zp], [w * mu * zp, w**2 * m.q * m.slope * m.slope_z_square]])
        on_h = np.array([p + s * mu * m.mean, w * (mu * zp + s * zpp)])
        along = np.outer(on_h, on_h) / self.p
        rest = g - t / self.n
        pairs = t[:, None, None] * along + rest[:, None, None] * (y - along)
        ad, dd = pairs[:, 0, 1], pairs[:, 1, 1]
        chi = self.chi * self.slope_ratio(g, t)
        after = g + chi * (1 - 1 / self.n) + (2 * s * ad + s**2 * dd) / (self.n * p)
        return after, (pairs[:, 0, 0] + 2 * s * ad + s**2 * dd) / p

    def slope_ratio(self, g: Array, t: Array) -> Array:
        """Return ‖phi' ∘ g‖² / m for a gradient g with the part t along h_l."""
        m, s, mu = self.m, self.s, self.skip * self.mu_before
        value, square = m.cov_mean_slope + m.mean, m.cov_square_slope + m.square
        along = (self.skip * self.p_before + 2 * s * mu * value + s**2 * square) / self.p
        return g + t / self.n * (along - 1)

    @cached_property
    def change_with_q(self) -> Array:
        """Return the derivatives of p and mu in q, [2]."""
        m, s = self.m, self.s
        return np.array(
            [s**2 * m.square_1 + 2 * s * self.skip * self.mu_before * m.mean_1, s * m.mean_1]
        )

    @cached_property
    def transfer(self) -> Array:
        """Return the derivatives of p and mu after the block in p and mu before it, [2, 2]."""
        of_p = np.outer(self.change_with_q, [0.0 if self.fixed else self.scale, 0.0])
        return of_p + self.skip * np.array([[1.0, 2 * self.s * self.m.mean], [0.0, 1.0]])

    @cached_property
    def noise(self) -> Array:
        """Return the covariance of p and mu that the layer's n units add, on the sphere: [2, 2]."""
        m, s, mu, twice = self.m, self.s, self.skip * self.mu_before, 2 * self.m.q**2
        value = m.mean_var - twice * m.mean_1**2
        square = m.square_var - twice * m.square_1**2
        both = m.cov_mean_square - twice * m.mean_1 * m.square_1
        rest = self.skip * self.p_before * m.mean_var - (mu * m.mean_1) ** 2 * twice
        pp = s**4 * square + 4 * s**3 * mu * both + 4 * s**2 * rest
        pm = s**3 * both + 2 * s**2 * mu * value
        return np.array([[pp, pm], [pm, s**2 * value]]) / self.n

    @cached_property
    def cov_with_slope(self) -> Array:
        """Return the covariance of p and mu with ln of the mean of phi'²: [2]."""
        m, s, mu = self.m, self.s, self.skip * self.mu_before
        twice = 2 * m.q**2 * m.log_slope_1
        square, value = m.cov_square_slope - twice * m.square_1, m.cov_mean_slope - twice * m.mean_1
        return np.array([s**2 * square + 2 * s * mu * value, s * value]) / self.n


def residual_network(
    phi: Activation, maps: Sequence[Variance], input_rms: float, branch_scale: float
) -> Prediction:
    """Return the prediction for a residual network.

    Source: Yang & Schoenholz 2017, theorems 2 and 5.

    Args:
        phi: the activation.
        maps: the variances of W_1..W_L and their biases.
        input_rms: the root mean square of a sample's features.
        branch_scale: s.

    Returns:
        The prediction for one sample.
    """
    blocks: list[ResidualBlock] = []
    before = input_rms**2, 0.0
    for l, linear in enumerate(maps[:-1], 1):
        block = ResidualBlock(phi, linear, before, l > 1, branch_scale if l > 1 else 1.0)
        blocks.append(block)
        before = block.p, block.mu
    scale = maps[-1].scale(before[0])
    squares = [input_rms**2 * maps[0].n_in, *(block.n * block.p for block in blocks)]
    parallel = [*_parallel_part(blocks), (0.0, 0.0)]
    return Prediction(
        preact=[*(block.m.q for block in blocks), scale * before[0] + maps[-1].bias],
        act=[*(block.m.slope for block in blocks), 1.0],
        weight=[*(block.scale for block in blocks), scale],
        norm=[1.0] * len(maps),
        delta=[_log_ratio(blocks, maps[-1], l, more, None) for l, more in enumerate(parallel, 1)],
        grad=[_log_ratio(blocks, maps[-1], l, more, squares) for l, more in enumerate(parallel, 1)],
    )


def _parallel_part(blocks: Sequence[ResidualBlock]) -> list[tuple[float, float]]:
    """Return mean and variance of ln (‖phi' ∘ g‖² / (m ‖g_{L-1}‖²)), g = dLoss/dh_l, l = 1..L-1."""
    g, t = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    found: list[tuple[float, float]] = []
    for block in reversed(blocks):
        found.append(log_moments(block.slope_ratio(g, t)))
        if block.skip:
            g, t = block.propagate_back(g, t)
    return found[::-1]


def _log_ratio(
    blocks: Sequence[ResidualBlock],
    out: Variance,
    l: int,
    parallel: tuple[float, float],
    squares: Sequence[float] | None,
) -> tuple[float, float]:
    """Return mean and variance of ln (‖delta_l‖ / ‖delta_L‖)², or of the same for weight gradients.

    Args:
        blocks: the hidden layers.
        out: the variances of the output layer.
        l: the layer, counted from 1.
        parallel: mean and variance of the parallel part.
        squares: ‖h_l‖², l = 0..L-1, for weight gradients; None for error signals.

    Returns:
        Mean and variance over networks.
    """
    if l > len(blocks):
        return 0.0, 0.0
    first = blocks[l - 1]
    mean, variance = parallel
    mean += (
        np.log(out.scale(blocks[-1].p) * first.s**2 * first.m.slope)
        + first.forward_noise.slope_shift
    )
    mean -= (out.back + first.forward_noise.slope) / 2
    variance += out.back + first.forward_noise.slope
    # How ln of the ratio changes with p_k and mu_k, from the last block back.
    effect = np.array([-float(out.fixed is not None) / blocks[-1].p, 0.0])
    if squares is not None:
        mean += np.log(squares[l - 1]) - np.log(squares[-1])
        mean += (_log_p_variance(blocks) - _log_p_variance(blocks[: l - 1])) / 2
        effect[0] -= 1 / blocks[-1].p
    for k in range(len(blocks), 0, -1):
        block = blocks[k - 1]
        part = block.part if k > l else float(k == l)
        of_q = part * block.m.log_slope_1
        if k > l:
            mean -= block.back / 2
            variance += block.back
        variance += effect @ block.noise @ effect + 2 * part * (effect @ block.cov_with_slope)
        variance += (of_q + effect @ block.change_with_q) ** 2 * block.radius
        effect = effect @ block.transfer
        effect[0] += of_q * (0.0 if block.fixed else block.scale)
        effect[0] -= part * block.fixed * (k > l) / block.p_before
        if squares is not None and k == l > 1:
            effect[0] += 1 / block.p_before
    return float(mean), float(variance)


def _log_p_variance(blocks: Sequence[ResidualBlock]) -> float:
    """Return the variance of ln p after the last of these blocks."""
    found = np.zeros((2, 2))
    for block in blocks:
        found = block.transfer @ found @ block.transfer.T + block.noise
        found += np.outer(block.change_with_q, block.change_with_q) * block.radius
    return float(found[0, 0] / blocks[-1].p ** 2) if blocks else 0.0
