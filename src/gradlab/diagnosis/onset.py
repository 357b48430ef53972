"""Since when a condition holds, whether it lasts, and at which layers."""

import pandas as pd


def since_when(holds: pd.Series) -> int | None:
    """Return the first step at which a condition held, if it holds in most of the later half.

    What a network leaves behind as it trains is not its sickness.
    """
    late = holds.iloc[len(holds) // 2 :]
    if not len(late) or late.mean() < 0.5:
        return None
    return int(holds.index[holds.to_numpy()][0])


def mostly(holds: pd.DataFrame) -> tuple[int, ...]:
    """Return the positions at which a condition holds in most of the steps in which it holds."""
    often = holds[holds.any(axis=1)].mean() >= 0.5
    return tuple(int(position) for position in holds.columns[often])
