"""What the factors say of a signal where the dtype has nothing left of it.

    ‖delta_l‖ = ‖delta_k‖ Π_{m=l}^{k-1} act_factor_m norm_factor_m Π_{m=l+1}^{k} weight_factor_m

from the nearest layer k above l that has a signal. A factor that is 0 or 0/0 because the signal ran
out is taken from the steps, or else the layers, at which it is known; one that is 0 because every
unit is dead or every weight is 0 remains 0.
"""

import numpy as np
import pandas as pd

from gradlab.diagnosis.profile import Grid, log10


def beyond(known: np.ndarray, grid: Grid) -> np.ndarray:
    """Fill the gaps (NaN) of log10 of a signal [step, layer] from the layers above by chain.

    Args:
        known: log10 of a quantity that changes over depth as the error signal does.
        grid: the record.
    """
    if not np.isnan(known).any():
        return known
    logs = pd.DataFrame(known)
    rising = gains(grid).iloc[:, ::-1].cumsum(axis=1).iloc[:, ::-1]
    # Sums through a factor that is truly 0: what is below it is 0, what is above it is not.
    nearest = (logs - rising).bfill(axis=1)
    return logs.fillna(nearest + rising).to_numpy()


def gains(grid: Grid) -> pd.DataFrame:
    """Return log10 ‖delta_l‖ / ‖delta_{l+1}‖ as the factors have it, by step and layer; last: 0."""
    act, weight, norm = (
        pd.DataFrame(log10(grid[name])) for name in ("act_factor", "weight_factor", "norm_factor")
    )
    dead, nothing = grid["dead"] == 1, grid["weight_norm"] == 0
    inner = _filled(act, dead) + _filled(norm, dead & False)
    inner.iloc[:, -1] = 0.0
    return inner + _filled(weight, nothing).shift(-1, axis=1, fill_value=0.0)


def _filled(logs: pd.DataFrame, zero: np.ndarray) -> pd.DataFrame:
    """Fill what is not finite from other steps of the layer, then from other layers."""
    finite = logs.where(np.isfinite(logs))
    filled = finite.fillna(finite.median()).T.fillna(finite.median(axis=1)).T.fillna(0.0)
    return filled.mask(zero, -np.inf)
