"""What the n units of one layer add to a signal's logarithm, to first order in 1/n.

A layer's z is isotropic: given its length it lies anywhere on a sphere with equal density, whether
the weights before it are independent numbers or a random rotation. Its length is therefore followed
from layer to layer (`maps.radius`), and what is here is the noise on the sphere: the averages over
units without their regression on Σ z², whose variance is 2 n q²:

    Var mean(phi²) = [Var phi² - 2 q² h'²] / n,       h = E phi²,   m = E phi'²
    Cov(mean(phi²), mean(phi'²)) = [Cov(phi², phi'²) - 2 q² h' m'] / n
    Var of Σ (phi' g)² / (m ‖g‖²) = [3 (E phi'⁴ / m² - 1) - 2 (q m' / m)²] / n

for a gradient g of any direction. The means themselves are lower by q² h'' / n and q² m'' / n.
"""

from gradlab.theory.gauss import Moments


class Noise:
    """Of a layer's n units, relative to the averages: variances of logarithms, and shifts.

    Attributes:
        square: variance of ln of the mean of phi².
        slope: variance of ln of ‖phi' ∘ W^T delta‖² / ‖delta‖².
        both: their covariance.
        square_shift: of the mean of phi², relative.
        slope_shift: of the mean of phi'², relative.
    """

    def __init__(self, m: Moments, n: int, back: float) -> None:
        """Take the moments, the width, and the variance of ln ‖W^T delta‖²."""
        h_1, m_1 = m.q * m.square_1 / m.square, m.q * m.log_slope_1
        self.square = (m.square_var / m.square**2 - 2 * h_1**2) / n
        self.slope = (3 * (m.fourth - 1) - 2 * m_1**2) / n + back
        self.both = (m.both / m.square - 2 * h_1 * m_1) / n
        self.square_shift = -(m.q**2) * m.square_2 / m.square / n
        self.slope_shift = -(m.q**2) * (m.log_slope_2 + m.log_slope_1**2) / n
