"""Residual networks: h_1 = phi(z_1), h_l = h_{l-1} + s phi(z_l), z_l = W_l h_{l-1} + b_l.

With p = E h², mu = E h, q_l = s_l p_{l-1} + Var b_l, s_l = n Var W_l, and phi, phi' at q_l (Yang &
Schoenholz 2017, theorem 2, where phi is odd and mu is 0):

    p_l = p_{l-1} + s² E phi² + 2 s mu_{l-1} E phi,     mu_l = mu_{l-1} + s E phi
    ‖dLoss/dh_{l-1}‖² = ‖dLoss/dh_l‖² (1 + s² chi_l),   chi_l = s_l E phi'²  (the same, theorem 5)
    delta_l = s phi'(z_l) ∘ dLoss/dh_l                  (without s at l = 1)

so that with s = 1/sqrt(L) all layers together multiply by no more than e^chi, at any depth (Zhang
et al. 2019; Hayou et al. 2021). To first order in 1/n a block's backward noise has the variance

    (4 s² chi + s⁴ chi² kappa) / n / (1 + s² chi)²,     kappa = 3 E phi'⁴ / m² - 1

for independent weights, and p and mu vary together: their noise is carried forward by a 2 x 2
matrix. Where units have a mean, as ReLU's, the signal grows faster than the gradient, and the part
of the gradient that is aligned with it (`aligned`) rules a deep network of s = 1: it is followed on
its own. Left out: second derivatives of the averages.
"""

from collections.abc import Sequence

import numpy as np

from gradlab.reference.activations import Activation
from gradlab.theory.aligned import log_of
from gradlab.theory.block import Block
from gradlab.theory.frame import Prediction
from gradlab.theory.variance import Variance


def residual(
    phi: Activation, maps: Sequence[Variance], input_rms: float, branch_scale: float
) -> Prediction:
    """Return the prediction for a residual network."""
    blocks: list[Block] = []
    before = input_rms**2, 0.0
    for l, linear in enumerate(maps[:-1], 1):
        block = Block(phi, linear, before, l > 1, branch_scale if l > 1 else 1.0)
        blocks.append(block)
        before = block.p, block.mu
    scale = maps[-1].scale(before[0])
    squares = [input_rms**2 * maps[0].n_in, *(block.n * block.p for block in blocks)]
    aligned = [*_aligned(blocks), (0.0, 0.0)]
    return Prediction(
        preact=[*(block.m.q for block in blocks), scale * before[0] + maps[-1].bias],
        act=[*(block.m.slope for block in blocks), 1.0],
        weight=[*(block.scale for block in blocks), scale],
        norm=[1.0] * len(maps),
        delta=[_between(blocks, maps[-1], l, more, None) for l, more in enumerate(aligned, 1)],
        grad=[_between(blocks, maps[-1], l, more, squares) for l, more in enumerate(aligned, 1)],
    )


def _aligned(blocks: Sequence[Block]) -> list[tuple[float, float]]:
    """Return mean and variance of ln (‖phi' ∘ g‖² / (m ‖g_{L-1}‖²)), g = dLoss/dh_l, l = 1..L-1."""
    g, t = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    found: list[tuple[float, float]] = []
    for block in reversed(blocks):
        found.append(log_of(block.of_slope(g, t)))
        if block.skip:
            g, t = block.back_from(g, t)
    return found[::-1]


def _between(
    blocks: Sequence[Block],
    out: Variance,
    l: int,
    aligned: tuple[float, float],
    squares: Sequence[float] | None,
) -> tuple[float, float]:
    """Return mean and variance of ln (‖delta_l‖ / ‖delta_L‖)²; given ‖h‖², of the gradients'."""
    if l > len(blocks):
        return 0.0, 0.0
    own = blocks[l - 1]
    mean, variance = aligned
    mean += np.log(out.scale(blocks[-1].p) * own.s**2 * own.m.slope) + own.own.slope_shift
    mean -= (out.back + own.own.slope) / 2
    variance += out.back + own.own.slope
    # How ln of the ratio changes with p_k and mu_k, from the last block back.
    felt = np.array([-float(out.held is not None) / blocks[-1].p, 0.0])
    if squares is not None:
        mean += np.log(squares[l - 1]) - np.log(squares[-1])
        mean += (_spread(blocks) - _spread(blocks[: l - 1])) / 2
        felt[0] -= 1 / blocks[-1].p
    for k in range(len(blocks), 0, -1):
        block = blocks[k - 1]
        part = block.part if k > l else float(k == l)
        of_q = part * block.m.log_slope_1
        if k > l:
            mean -= block.back / 2
            variance += block.back
        variance += felt @ block.noise @ felt + 2 * part * (felt @ block.with_slope)
        variance += (of_q + felt @ block.of_q) ** 2 * block.radius
        felt = felt @ block.carried
        felt[0] += of_q * (0.0 if block.held else block.scale)
        felt[0] -= part * block.held * (k > l) / block.p_before
        if squares is not None and k == l > 1:
            felt[0] += 1 / block.p_before
    return float(mean), float(variance)


def _spread(blocks: Sequence[Block]) -> float:
    """Return the variance of ln p behind the last of these blocks."""
    found = np.zeros((2, 2))
    for block in blocks:
        found = block.carried @ found @ block.carried.T + block.noise
        found += np.outer(block.of_q, block.of_q) * block.radius
    return float(found[0, 0] / blocks[-1].p ** 2) if blocks else 0.0
