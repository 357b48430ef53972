"""DeepDiagnosis (Wardat, Cruz, Le & Rajan, ICSE 2022): the symptoms of its callback, in its order.

Source: github.com/DeepDiagnosis/ICSE2022, callback/callbacks.py. It looks after every epoch and
stops at the first symptom. Its check of the output layer's range is left out: it takes logits for a
mistake, and the losses here contain the softmax.
"""

import pandas as pd
from diagnosis.record import Record
from diagnosis.rivals.tables import by_layer, epochs, nonfinite

DEAD = 0.7  # of a layer's outputs are not above 0
SATURATED = 0.5  # of a layer's inputs are 5 or more from 0
VANISHED = 1e-7  # mean |g| of a layer's weights
SAME, SAME_ACCURACY = 5, 20  # looks without any change


def deepdiagnosis(record: Record) -> set[str]:
    """Return the label of the first symptom."""
    if nonfinite(record):
        return {"overflow", "exploding"}
    tables = {
        name: by_layer(record, name)
        for name in ("z_mean", "a_mean", "u_beyond_5", "a_not_positive", "grad_mean")
    }
    gradients, weights = by_layer(record, "grad_mean_abs"), by_layer(record, "weight_mean")
    labels = epochs(record)
    for look, step in enumerate(gradients.index):
        now = {name: table.loc[step] for name, table in tables.items()}
        whole = (look + 1) % SAME == 0
        forward = [now[name] for name in ("z_mean", "a_mean") if name in now]
        if any((means == 0).any() for means in forward):
            return {"underflow", "dead"}  # "numerical problem": a layer's mean output is 0
        last = look == len(gradients) - 1
        if last and record.activation == "relu" and (now["a_not_positive"] >= DEAD).any():
            return {"dead"}
        bounded = record.activation in ("sigmoid", "tanh")
        if whole and bounded and (now["u_beyond_5"] > SATURATED).any():
            return {"saturated"}
        window = slice(look + 1 - SAME, look + 1)
        if whole and _constant(tables["z_mean"].iloc[window, :-1]):
            return {"starved"}  # "unchanged tensor"
        if whole and labels["loss"].iloc[window].nunique() == 1:
            return {"other"}  # "loss not decreasing"
        if "accuracy" in labels and _accuracy(labels["accuracy"].iloc[: look + 1]):
            return {"other"}
        if (now["grad_mean"] == 0).any():
            return {"underflow", "vanishing"}  # "numerical error in delta weights"
        if (gradients.loc[step] < VANISHED).any():
            return {"vanishing", "underflow"}
        if (weights.loc[step] == 0).any():
            return {"other"}  # "numerical error in weights"
        if whole and (
            _constant(tables["grad_mean"].iloc[window]) or _constant(weights.iloc[window])
        ):
            return {"starved"}  # "unchanged tensor"
    return set()


def _constant(table: pd.DataFrame) -> bool:
    """Return whether a layer's number is the same at every look."""
    return bool((table.nunique() == 1).any())


def _accuracy(seen: pd.Series) -> bool:
    """Find an accuracy of 0, or an accuracy that has not moved in 20 looks."""
    same = len(seen) % SAME_ACCURACY == 0 and seen.iloc[-SAME_ACCURACY:].nunique() == 1
    return bool(seen.iloc[-1] == 0 or same)
