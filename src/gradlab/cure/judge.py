"""What is wrong with a run or a trial: the one place from which the rules are asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.results.context import ALONE, attach

GRADES = {"mild": 1, "gross": 2}
"""How much a severity weighs; any other is a remark, and no sickness."""
DIVERGED = 3


def findings(
    layers: pd.DataFrame,
    steps: pd.DataFrame,
    config: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
) -> Findings:
    """Return the findings of a run, gravest first, from its frames and its flat configuration.

    With `data`, of its `run.json`, their causes say what theory expected.
    """
    return diagnose(attach(layers, {ALONE: {"config": config, "data": data}}, steps))


def sick(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that make a run sick."""
    return [finding for finding in found if finding.severity in GRADES]


def kinds(found: Sequence[Finding], diverged: bool) -> tuple[str, ...]:
    """Return the words for what is wrong, each once; none for a healthy run."""
    named = [finding.kind for finding in sick(found)]
    return tuple(dict.fromkeys([*(["diverged"] if diverged else []), *named]))


def gravity(found: Sequence[Finding], diverged: bool) -> int:
    """Return how sick a run is: 0 healthy, 1 mild, 2 gross, 3 diverged."""
    return DIVERGED if diverged else max((GRADES[each.severity] for each in sick(found)), default=0)
