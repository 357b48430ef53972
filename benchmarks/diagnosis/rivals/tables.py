"""What several tools ask of a record."""

import numpy as np
import pandas as pd
from diagnosis.record import Record


def by_layer(record: Record, column: str) -> pd.DataFrame:
    """Return a column of `seen`: a row per recorded step, a column per linear map.

    Without columns if no layer has the quantity for.
    """
    if column not in record.seen:
        return pd.DataFrame(index=pd.Index(record.seen["step"].unique(), name="step"))
    return record.seen.pivot_table(
        index="step", columns="position", values=column, dropna=False
    ).dropna(axis=1, how="all")


def any_over(record: Record, column: str, limit: float) -> bool:
    """Return whether any layer is above a limit at any recorded step."""
    return bool((by_layer(record, column) > limit).any(axis=None))


def nonfinite(record: Record) -> bool:
    """Return whether any weight, gradient, signal or loss was infinite or NaN."""
    loss = record.steps["loss"].to_numpy()
    return bool(record.seen["nonfinite"].any() or not np.isfinite(loss).all())


def epochs(record: Record) -> pd.DataFrame:
    """Return the mean loss and accuracy between two records, which stand for epochs here.

    The runs are a few epochs long, and these tools were made for dozens.
    """
    columns = [name for name in ("loss", "accuracy") if name in record.steps]
    labels = record.steps.assign(epoch=record.steps["step"] // record.settings.every)
    return labels.groupby("epoch")[columns].mean()
