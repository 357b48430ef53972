"""The tools: each one observes the training of a program, and reports in words.

A tool is a function from the file of a program to a `Report`.
"""

import time
import warnings
from collections.abc import Callable, Iterable
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


def nansense(path: Path) -> Report:
    """Train in a session of NaNsense that checks each batch; its answer is the first layer listed.

    Without a user interface, a session waits after an error, by default for 30 seconds.
    """
    import nansense as package
    from nansense import session as sessions

    sessions._UNSERVED_PAUSE_TIMEOUT = 0.1
    training = prepare(path)
    names = training.names
    start = time.perf_counter()
    session = package.start(names["model"], optimizer=names["optimizer"], open_browser=False)
    session.set_debug_settings(interval=1)
    session.step_run()

    def batches(*limits: int) -> Iterable[int]:
        """Replace `range` in the program: the loop over the steps becomes a loop over batches."""
        if limits != (60,):
            yield from range(*limits)
            return
        yield from session.batches(range(60), phase="train", epoch=0)

    names["range"] = batches
    with suppress(torch.linalg.LinAlgError):
        training.run()
    error = session.debug_error
    seconds = time.perf_counter() - start
    session.close()
    if error is None:
        return Report("", seconds)
    place = f"step {error.position.batch_idx}: {'/'.join(error.reasons)} in {error.layers[0].layer}"
    return Report(place, seconds)


PACKAGES = {
    "gradlab.watch": "gradlab.monitor.monitor",
    "gradlab doctor": "gradlab.debugger.entry_point",
    "NaNsense": "nansense",
}
"""By tool, what it imports: `run.py` imports it before the first training."""

TOOLS: dict[str, Callable[[Path], Report]] = {
    "gradlab.watch": watch,
    "gradlab doctor": doctor,
    "detect_anomaly": detect_anomaly,
    "NaNsense": nansense,
}
