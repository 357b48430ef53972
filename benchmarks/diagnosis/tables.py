"""The examination's results as tables: pure functions of the answers."""

from collections.abc import Sequence

import pandas as pd
from diagnosis.answers import Answer
from diagnosis.networks import LABELS

STRATA = (*LABELS, "mixture")


def totals(answers: Sequence[Answer]) -> pd.DataFrame:
    """Return a row per tool: how many it named and noticed, and its two kinds of error."""
    sick = [answer for answer in answers if answer.network.sick]
    healthy = [answer for answer in answers if not answer.network.sick]
    rows = {
        tool: {
            "named": _share(answer.named(tool) for answer in answers),
            "noticed": _share(answer.noticed(tool) for answer in answers),
            f"false alarms of {len(healthy)}": sum(not a.noticed(tool) for a in healthy),
            f"misses of {len(sick)}": sum(not a.noticed(tool) for a in sick),
            f"wrong names of {len(sick)}": sum(a.noticed(tool) and not a.named(tool) for a in sick),
            "labels when sick": round(sum(len(a.given[tool]) for a in sick) / len(sick), 1),
        }
        for tool in answers[0].given
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def shares(answers: Sequence[Answer]) -> pd.DataFrame:
    """Return a row per label: by tool, how many it named / noticed."""
    rows = {}
    for stratum in STRATA:
        of = [answer for answer in answers if answer.network.stratum == stratum]
        if of:
            rows[f"{stratum} ({len(of)})"] = {
                tool: f"{sum(a.named(tool) for a in of)}/{sum(a.noticed(tool) for a in of)}"
                for tool in of[0].given
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "named/noticed"
    return table


def confusion(answers: Sequence[Answer], tool: str = "gradlab") -> pd.DataFrame:
    """Return truth by verdict, counts, for a tool that gives one label at most."""
    truth = ["+".join(sorted(answer.network.truth)) for answer in answers]
    labels = ["+".join(sorted(answer.given[tool])) or "healthy" for answer in answers]
    order = {label: rank for rank, label in enumerate(LABELS)}
    table = pd.crosstab(pd.Series(truth, name="truth"), pd.Series(labels, name=f"{tool} label"))
    rows = sorted(table.index, key=lambda label: order.get(str(label), len(order)))
    columns = sorted(table.columns, key=lambda label: order.get(str(label), len(order)))
    return table.loc[rows, columns].replace(0, "")


def mistakes(answers: Sequence[Answer], tool: str = "gradlab") -> str:
    """Return a line for each wrong label of a tool: the label, and the true one."""
    lines = [
        f"  {a.network.name}: {'+'.join(sorted(a.given[tool])) or 'healthy'}, "
        f"not {'+'.join(sorted(a.network.truth))} ({a.network.degree}): {a.network.why}\n"
        f"    {a.network.changes}"
        for a in answers
        if not a.named(tool)
    ]
    return "\n".join(lines) or "  none"


def _share(right) -> str:
    found = list(right)
    return f"{sum(found)} ({sum(found) / len(found):.0%})"
