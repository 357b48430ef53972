"""One layer of a residual network: what it does to E h², E h and the gradient (see `residual`)."""

from functools import cached_property

import numpy as np

from gradlab.reference.activations import Activation, Array
from gradlab.theory.gauss import Moments
from gradlab.theory.noise import Noise
from gradlab.theory.variance import Variance


class Block:
    """A hidden layer: p and mu behind it, and how noise in them arises and is carried.

    Attributes:
        p: E h².
        mu: E h.
        scale: s_l.
        chi: s² s_l E phi'², what the branch adds to a squared gradient of 1; 0 at the first layer.
        back: variance of ln ‖dLoss/dh_{l-1}‖² / ‖dLoss/dh_l‖².
    """

    def __init__(
        self, phi: Activation, linear: Variance, before: tuple[float, float], skip: bool, s: float
    ) -> None:
        """Take the map, E h² and E h before it, whether h_{l-1} is added, and s."""
        p, self.mu_before = before
        self.s, self.p_before, self.skip = s, p, skip
        self.scale = linear.scale(p)
        self.held = linear.held is not None
        q = self.scale * p + linear.bias
        self.m = m = Moments(phi, q)
        self.n = n = linear.n_out
        self.radius = 0.0 if self.held else q**2 * linear.radius(self.scale * p / q)
        self.p = skip * p + s**2 * m.square + 2 * s * skip * self.mu_before * m.mean
        self.mu = skip * self.mu_before + s * m.mean
        self.chi = s**2 * self.scale * m.slope if skip else 0.0
        self.own = Noise(m, n, 0.0)
        kappa = 3 * (m.fourth - 1) + n * linear.back
        self.back = (4 * self.chi + self.chi**2 * kappa) / n / (1 + self.chi) ** 2

    @property
    def part(self) -> float:
        """Return the branch's part of the squared gradient."""
        return self.chi / (1 + self.chi)

    def back_from(self, g: Array, t: Array) -> tuple[Array, Array]:
        """Return ‖g‖² and (g · h)² / (n p) of g = dLoss/dh before this block, from those behind it.

        g is t along h_l and of no other direction: what it has in common with h_{l-1} and with
        z phi', of which the weights bring back a multiple of h_{l-1}.
        """
        m, s, mu, p = self.m, self.s, self.mu_before, self.p_before
        zp, zpp = 2 * m.q * m.mean_1, m.q * m.square_1  # E z phi', E z phi' phi
        w = self.scale * p / m.q
        y = np.array([[p, w * mu * zp], [w * mu * zp, w**2 * m.q * m.slope * m.alike]])
        on_h = np.array([p + s * mu * m.mean, w * (mu * zp + s * zpp)])
        along = np.outer(on_h, on_h) / self.p
        rest = g - t / self.n
        pairs = t[:, None, None] * along + rest[:, None, None] * (y - along)
        ad, dd = pairs[:, 0, 1], pairs[:, 1, 1]
        chi = self.chi * self.of_slope(g, t)
        after = g + chi * (1 - 1 / self.n) + (2 * s * ad + s**2 * dd) / (self.n * p)
        return after, (pairs[:, 0, 0] + 2 * s * ad + s**2 * dd) / p

    def of_slope(self, g: Array, t: Array) -> Array:
        """Return ‖phi' ∘ g‖² / m of g, which is t along h_l."""
        m, s, mu = self.m, self.s, self.skip * self.mu_before
        value, square = m.mean_slope + m.mean, m.both + m.square
        along = (self.skip * self.p_before + 2 * s * mu * value + s**2 * square) / self.p
        return g + t / self.n * (along - 1)

    @cached_property
    def of_q(self) -> Array:
        """Return how p and mu change with q."""
        m, s = self.m, self.s
        return np.array(
            [s**2 * m.square_1 + 2 * s * self.skip * self.mu_before * m.mean_1, s * m.mean_1]
        )

    @cached_property
    def carried(self) -> Array:
        """Return how p and mu change with those before: [2, 2]."""
        of_p = np.outer(self.of_q, [0.0 if self.held else self.scale, 0.0])
        return of_p + self.skip * np.array([[1.0, 2 * self.s * self.m.mean], [0.0, 1.0]])

    @cached_property
    def noise(self) -> Array:
        """Return the covariance of p and mu that the layer's n units add, on the sphere: [2, 2]."""
        m, s, mu, twice = self.m, self.s, self.skip * self.mu_before, 2 * self.m.q**2
        value = m.mean_var - twice * m.mean_1**2
        square = m.square_var - twice * m.square_1**2
        both = m.mean_square - twice * m.mean_1 * m.square_1
        rest = self.skip * self.p_before * m.mean_var - (mu * m.mean_1) ** 2 * twice
        pp = s**4 * square + 4 * s**3 * mu * both + 4 * s**2 * rest
        pm = s**3 * both + 2 * s**2 * mu * value
        return np.array([[pp, pm], [pm, s**2 * value]]) / self.n

    @cached_property
    def with_slope(self) -> Array:
        """Return the covariance of p and mu with ln of the mean of phi'²: [2]."""
        m, s, mu = self.m, self.s, self.skip * self.mu_before
        twice = 2 * m.q**2 * m.log_slope_1
        square, value = m.both - twice * m.square_1, m.mean_slope - twice * m.mean_1
        return np.array([s**2 * square + 2 * s * mu * value, s * value]) / self.n
