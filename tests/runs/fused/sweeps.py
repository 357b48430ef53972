"""Sweeps as a user starts them, and what two of them have left compared."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gradlab.cli.main import main
from gradlab.results.load import Run, find


class Branching(torch.nn.Module):
    """An activation that looks at a value, as vmap does not allow."""

    def forward(self, x):
        return torch.zeros_like(x) if x.sum().isinf() else x.tanh()


SHORT = ["tracking=none", "model.depth=2", "model.width=8", "train.steps=4", "record.every=2"]


def sweep(folder: str, *overrides: str, workers: int = 1) -> int:
    """Run a sweep; one worker is this process, where a test can see and break what it does."""
    fused = not any(each.startswith("hydra/launcher=basic") for each in overrides)
    by = [f"hydra.launcher.workers={workers}"] if fused else []
    return main(["run", "-m", *SHORT, *overrides, *by, f"hydra.sweep.dir={folder}"])


EPS = float(np.finfo(np.float32).eps)
ROUNDINGS = 16  # of float32, that a number of a run in a stack may be away from the same run alone


def exactly(frame: pd.DataFrame, name: str) -> np.ndarray:
    """What a number may differ by in float64."""
    return 1e-9 * frame[name].abs().to_numpy(float)


def rounding(frame: pd.DataFrame, name: str) -> np.ndarray:
    """What a number may differ by in float32: some roundings of what it is computed from.

    Products of a stack add in another order than one network's, so that every signal and gradient
    is a rounding or two away, and so are their norms and the norms' ratios. A mean, and a deviation
    that is small beside it, are differences of numbers of the size of the signal; ‖W_after − W‖
    has the roundings of W_after; the fall of the loss has those of the loss, over the promised fall
    lr‖g‖² of plain gradient descent. In a few steps nothing grows. (A pre-activation within a
    rounding of ReLU's kink would be more: one in ten million.)
    """
    size = frame[name].abs()
    if name.split("_")[0] in ("preact", "act") and name.endswith(("mean", "std")):
        signal = name.rsplit("_", 1)[0]
        size = frame[f"{signal}_mean"].abs() + frame[f"{signal}_std"]
    if name == "update_ratio":
        size = 1 + size
    if name == "descent":
        size = size + frame["loss"] / (frame["lr"] * frame["grad_norm"] ** 2)
    return ROUNDINGS * EPS * size.to_numpy(float)


def assert_same(
    one: str,
    other: str,
    tolerance: Callable[[pd.DataFrame, str], np.ndarray] = exactly,
    rtol: float = 1e-9,
    logs: bool = True,
) -> None:
    """Every file of every run is the same, but for seconds and the folder's own name."""
    runs, others = find(one).runs, find(other).runs
    assert [run.name for run in runs] == [run.name for run in others]
    for mine, its in zip(runs, others, strict=True):
        assert files(mine) == files(its)
        for frame, expected in ((mine.layers(), its.layers()), (mine.steps(), its.steps())):
            assert list(frame) == list(expected)
            for name in frame.columns.drop("seconds", errors="ignore"):
                told = f"{mine.name}: {name}"
                if name in ("axis", "module"):
                    assert frame[name].tolist() == expected[name].tolist(), told
                else:
                    values, wanted = frame[name].to_numpy(float), expected[name].to_numpy(float)
                    assert np.array_equal(np.isnan(values), np.isnan(wanted)), told
                    beyond = np.abs(values - wanted) > tolerance(expected, name)
                    assert not beyond.any(), (told, values[beyond], wanted[beyond])
        assert without_times(mine.info, rtol) == without_times(its.info, rtol)
        kept = ("config.yaml", "overrides.yaml")
        for name in [f".hydra/{name}" for name in kept] + ["gradlab.log"] * logs:
            texts = [(r.path / name).read_text().replace(f"{d}/", "") for r, d in both(mine, its)]
            texts = [re.sub(r"^\[.*?\] ", "", text, flags=re.M) for text in texts]
            assert texts[0] == texts[1]


def both(mine: Run, its: Run) -> list[tuple[Run, str]]:
    return [(run, run.path.parts[0]) for run in (mine, its)]


def files(run: Run) -> set[str]:
    return {f.relative_to(run.path).as_posix() for f in run.path.rglob("*") if f.is_file()}


def without_times(info: dict, rtol: float) -> object:
    """What `run.json` says, its numbers to the precision asked for, and no times."""
    digits = int(-np.log10(rtol)) - 1

    def rounded(value):
        if isinstance(value, float):
            return float(f"{value:.{digits}g}")
        if isinstance(value, dict):
            return {key: rounded(each) for key, each in value.items() if key != "timings"}
        return [rounded(each) for each in value] if isinstance(value, list) else value

    return rounded(info)


def info(folder: str) -> dict:
    return json.loads((Path(folder) / "run.json").read_text())
