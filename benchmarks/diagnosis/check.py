"""Measures whether every network has the fault of its label, without the rules of any tool.

    python benchmarks/diagnosis/check.py [name ...]

Prints the wrong labels; nothing if all are right. Takes two minutes.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diagnosis.networks import NETWORKS, Network
from diagnosis.record import Record, record
from diagnosis.rivals.tables import by_layer

SOUND = 2.0  # decades that a healthy signal may lose or gain anywhere, in the median step
MILD, SEVERE = 4.0, 6.0


def decades(run: Record) -> pd.Series:
    """Return log10 ‖dLoss/dz_l‖ / ‖dLoss/dz_L‖ by layer, the median over the records."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(by_layer(run, "delta_norm"))
        return logs.sub(logs.iloc[:, -1], axis=0).median()


def sound(run: Record) -> bool:
    """Return whether the signal stays within two decades of the last layer's, everywhere."""
    return bool((decades(run).abs() <= SOUND).all())


def rates(run: Record) -> pd.Series:
    """Return ‖update‖ / ‖weights‖ by layer, the median over the records."""
    return (by_layer(run, "update_norm") / by_layer(run, "weight_norm")).median()


def healthy(run: Record) -> bool:
    """Ask for a sound signal, a falling loss, and layers that learn at comparable rates."""
    loss = run.steps["loss"]
    even = rates(run).min() > 1e-3 * rates(run).median()
    falls = loss.tail(10).mean() < 0.98 * loss.head(3).mean()
    return run.status == "completed" and sound(run) and falls and bool(even)


def underflow(run: Record) -> bool:
    """Ask for a layer whose gradient is mostly 0, while in float64 and unscaled none is."""
    return _mostly_zero(run) and not _mostly_zero(exact(run))


def _mostly_zero(run: Record) -> bool:
    zeros = by_layer(run, "grad_zeros") / by_layer(run, "grad_entries")
    return bool((zeros.median() > 0.5).any())


def exact(run: Record) -> Record:
    """Return the same network in float64 with an unscaled loss, kept where it begins."""
    given = [f"{key}={value}" for key, value in run.settings.flat.items() if _tells(key, value)]
    return record([*given, "train.dtype=float64", "loss.scale=1", "optim.lr=1e-9"])


def _tells(key: str, value: object) -> bool:
    groups = ("model", "data", "loss", "optim", "seed", "train.batch_size")
    return key.startswith(groups) and not key.endswith(("_target_", "tasks")) and value is not None


def below_eps(run: Record) -> bool:
    """Ask for gradients whose root mean square is below a tenth of eps in some layer."""
    rms = by_layer(run, "grad_norm") / np.sqrt(by_layer(run, "grad_entries"))
    return bool((rms.median() < 0.1 * float(run.settings.flat["optim.eps"])).any())


def symmetric(run: Record) -> bool:
    """Ask for a hidden layer all of whose units have the same gradient (or none)."""
    spread = by_layer(run, "grad_spread").iloc[:, :-1]
    return bool((spread.median() < 1e-4).any())


def unstable(run: Record) -> bool:
    """Ask for a loss that has risen above its first value."""
    loss = run.steps["loss"]
    return bool(loss.iloc[len(loss) // 2 :].median() > loss.iloc[0] or loss.max() > 10 * loss[0])


CHECKS: dict[str, Callable[[Record], bool]] = {
    "healthy": healthy,
    "vanishing": lambda run: decades(run).iloc[0] < -MILD,
    "exploding": lambda run: decades(run).iloc[0] > MILD or run.status == "diverged",
    "dead": lambda run: bool((run.layers.groupby("position")["dead"].median() >= 0.95).any()),
    "saturated": lambda run: bool(
        (run.layers.groupby("position")["saturated"].median() > 0.8).any()
    ),
    "underflow": underflow,
    "overflow": lambda run: run.status == "diverged",
    "starved": lambda run: bool(sound(run) and rates(run).min() < 1e-3 * rates(run).median()),
    "unstable": unstable,
    "below_eps": below_eps,
    "symmetric": symmetric,
}
ALONE = {"dead", "saturated", "starved", "unstable", "below_eps", "symmetric"}


def wrong(network: Network) -> list[str]:
    """Return the labels that the measurements contradict."""
    run = record(network.overrides)
    found = [label for label in sorted(network.truth) if not CHECKS[label](run)]
    one = next(iter(network.truth)) if len(network.truth) == 1 else ""
    if one in {"vanishing", "exploding"}:
        size = abs(float(decades(run).iloc[0]))
        found += [] if (size > SEVERE) == (network.degree == "severe") else [f"{size:.1f} decades"]
    whole = one == "dead" and network.degree == "severe"  # nothing arrives below a dead layer
    if one in ALONE and not whole and not sound(run):
        found.append(f"decades {decades(run).round(1).tolist()}")
    if one == "underflow" and not sound(exact(run)):
        found.append("sound in float64")
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in NETWORKS:
        if not sys.argv[1:] or each.name in sys.argv[1:]:
            for problem in wrong(each):
                print(f"{each.name}: not {problem}", flush=True)
