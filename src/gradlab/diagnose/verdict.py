"""All rules on one run, and the one word that sums them up."""

from collections.abc import Sequence

import pandas as pd

from gradlab.diagnose.finding import Finding
from gradlab.diagnose.rules import RULES


def diagnose(layers: pd.DataFrame, steps: pd.DataFrame | None = None) -> list[Finding]:
    """Return what is wrong with a run, gravest first; an empty list for a healthy one.

    Args:
        layers: a frame of `layers.parquet` of one run.
        steps: one of `steps.parquet`; without it, nothing is said of growth over time.
    """
    if steps is None:
        steps = pd.DataFrame({"step": [], "grad_norm": []})
    finite = layers[layers["delta_norm"].notna()]
    if finite.empty:
        return []
    found = [rule(finite, steps) for rule in RULES]
    return [finding for finding in found if finding is not None]


def verdict(status: str, findings: Sequence[Finding]) -> str:
    """Return one of `schema.VERDICTS`: `diverged` whatever else, else the gravest finding."""
    if status == "diverged":
        return "diverged"
    return findings[0].kind if findings else "healthy"
