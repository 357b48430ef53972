"""The tools: each one observes the training of a program, and reports in words.

A tool is a function from the file of a program to a `Report`.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from nonfinite.corpus import prepare


@dataclass(frozen=True)
class Report:
    """The answer of a tool.

    Attributes:
        text: the first finding, empty if the tool found nothing.
        seconds: the time of the training with the tool, without imports and preparations.
    """

    text: str
    seconds: float


def bare(path: Path) -> Report:
    """Train without a tool."""
    training = prepare(path)
    start = time.perf_counter()
    with suppress(torch.linalg.LinAlgError):
        training.run()
    return Report("", time.perf_counter() - start)


def watch(path: Path) -> Report:
    """Train in `gradlab.watch`, and diagnose."""
    import gradlab

    training = prepare(path)
    start = time.perf_counter()
    monitor = gradlab.watch(training.names["model"], training.names["optimizer"])
    with suppress(torch.linalg.LinAlgError), monitor:
        training.run()
    findings = [finding for finding in monitor.findings if finding.severity != "note"]
    return Report("\n".join(map(str, findings[:1])), time.perf_counter() - start)


def doctor(path: Path) -> Report:
    """Examine the script as `gradlab doctor` does."""
    from gradlab.debugger.entry_point import examine_target

    start = time.perf_counter()
    findings = examine_target(str(path))
    return Report("\n".join(map(str, findings[:1])), time.perf_counter() - start)


def detect_anomaly(path: Path) -> Report:
    """Train in `torch.autograd.detect_anomaly`, which stops at the first NaN of a backward pass."""
    training = prepare(path)
    start = time.perf_counter()
    error = ""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.detect_anomaly():
        try:
            training.run()
        except RuntimeError as raised:
            error = f"step {training.names['step']}: {raised}"
    seconds = time.perf_counter() - start
    lines = [
        line
        for warning in caught
        for line in str(warning.message).splitlines()
        if f'File "{path}"' in line
    ]
    return Report("\n".join([error, *lines[-1:]]) if error else "", seconds)


IMPORTS = ("gradlab.monitor.monitor", "gradlab.debugger.entry_point")
"""Imported before the first training, so that no time includes an import."""

TOOLS: dict[str, Callable[[Path], Report]] = {
    "gradlab.watch": watch,
    "gradlab doctor": doctor,
    "detect_anomaly": detect_anomaly,
}
