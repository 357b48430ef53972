"""Starts sweeps as a user does, and compares the folders of two sweeps."""

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
    """An activation that branches on a value, which vmap does not allow."""

    def forward(self, x):
        return torch.zeros_like(x) if x.sum().isinf() else x.tanh()


SHORT = ["tracking=none", "model.depth=2", "model.width=8", "train.steps=4", "record.every=2"]


def sweep(folder: str, *overrides: str, workers: int = 1) -> int:
    """Run a sweep. With one worker it runs in this process, where a test can patch functions."""
    fused = not any(each.startswith("hydra/launcher=basic") for each in overrides)
    by = [f"hydra.launcher.workers={workers}"] if fused else []
    return main(["run", "-m", *SHORT, *overrides, *by, f"hydra.sweep.dir={folder}"])


EPS = float(np.finfo(np.float32).eps)
ROUNDINGS = 16  # of float32: the largest difference between a run in a stack and alone


def exactly(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return the tolerance in float64."""
    return 1e-9 * frame[name].abs().to_numpy(float)


def rounding(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return the tolerance in float32: some roundings of the numbers behind a value.

    A stack adds products in another order than one network, so signals and gradients differ by a
    rounding or two, and so do their norms and ratios. Some values are small differences of large
    numbers and have the roundings of these: a mean or deviation of the signal, ‖W_after − W‖ of
    W_after, and `descent` of the loss over lr‖g‖². A pre-activation within a
    rounding of ReLU's kink would differ more: one in ten million.
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
    """Assert that all files of all runs are equal, except for times and the folder's name.

    Args:
        one: folder of a sweep.
        other: folder of another sweep.
        tolerance: returns the allowed difference of the values of a column.
        rtol: relative tolerance for `run.json`.
        logs: whether to compare the logs.
    """
    runs, others = find(one).runs, find(other).runs
    assert [run.name for run in runs] == [run.name for run in others]
    for run, twin in zip(runs, others, strict=True):
        assert files(run) == files(twin)
        for frame, expected in ((run.layers(), twin.layers()), (run.steps(), twin.steps())):
            assert list(frame) == list(expected)
            for name in frame.columns.drop("seconds", errors="ignore"):
                column = f"{run.name}: {name}"
                if name in ("axis", "module"):
                    assert frame[name].tolist() == expected[name].tolist(), column
                else:
                    values, wanted = frame[name].to_numpy(float), expected[name].to_numpy(float)
                    assert np.array_equal(np.isnan(values), np.isnan(wanted)), column
                    beyond = np.abs(values - wanted) > tolerance(expected, name)
                    assert not beyond.any(), (column, values[beyond], wanted[beyond])
        assert without_times(run.info, rtol) == without_times(twin.info, rtol)
        saved = [f".hydra/{name}" for name in ("config.yaml", "overrides.yaml")]
        for name in saved + ["gradlab.log"] * logs:
            texts = [
                (r.path / name).read_text().replace(f"{d}/", "") for r, d in with_folders(run, twin)
            ]
            texts = [re.sub(r"^\[.*?\] ", "", text, flags=re.M) for text in texts]
            assert texts[0] == texts[1]


def with_folders(*runs: Run) -> list[tuple[Run, str]]:
    return [(run, run.path.parts[0]) for run in runs]


def files(run: Run) -> set[str]:
    return {f.relative_to(run.path).as_posix() for f in run.path.rglob("*") if f.is_file()}


def without_times(info: dict, rtol: float) -> object:
    """Return the content of `run.json` without times, with rounded numbers."""
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
