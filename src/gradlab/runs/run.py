"""One run from settings to verdict: where data, loop, files, tracking and rules meet."""

import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlab.config.interrupt import Interrupt
from gradlab.config.settings import Settings, check_data
from gradlab.data.dataset import Dataset, load
from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.finding import Findings
from gradlab.diagnosis.grid import slope
from gradlab.errors import JobError, StoreError
from gradlab.recording.rows import Outcome, Rows
from gradlab.results.context import ALONE, attach
from gradlab.results.resume import clear, free
from gradlab.runs.members import Member, Scope, train
from gradlab.sinks.protocol import RunInfo, Sinks
from gradlab.sinks.run_folder import Parquet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Label:
    """What a run is called in W&B: its own name, and that of its sweep, if any."""

    name: str
    group: str | None = None


class Run(Member):
    """One run from its folder to its verdict; `info` is its `run.json`, once it has begun."""

    def __init__(
        self, settings: Settings, path: Path, label: Label, scope: Scope = nullcontext
    ) -> None:
        super().__init__(settings, path, scope)
        self.label = label
        self.folder: Parquet | None = None
        self.tracking = Sinks((), log.warning)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the run; nothing if it never began."""
        return {} if self.folder is None else self.folder.info

    def begin(self, dataset: Dataset, members: int) -> None:
        """Make the folder, and open the services."""
        self.tracking = Sinks([each.call() for each in self.settings.tracking], log.warning)
        run = run_info(self.settings, self.path, self.label, dataset, members)
        folder = _folder(self.path, self.settings.resume)
        folder.open(run)
        self.folder = folder
        self.tracking.open(run)

    def take(self, rows: Rows) -> None:
        """Keep some steps."""
        assert self.folder is not None
        self.folder.write(rows)
        self.tracking.write(rows)

    def conclude(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Judge it and complete its files."""
        assert self.folder is not None
        _conclude(self.settings, self.folder, outcome, test)

    def stop(self, status: str, error: str | None = None) -> None:
        """Complete its files, if it has any, without a verdict."""
        if self.folder is not None and (error or self.info["status"] == "running"):
            self.folder.finish({"status": status, "error": error})

    def end(self) -> None:
        """Finish the services, and say how the run ended."""
        self.tracking.finish(self.info)
        if self.error is None and self.info.get("status") != "running":
            log.info("%s", sentence(self.info))
            log.info("%s", os.path.relpath(self.path))

    def discard(self) -> None:
        """Leave as little as if it had not begun."""
        if self.folder is not None:
            clear(self.path)
        self.folder, self.tracking, self.error = None, Sinks((), log.warning), None


def run(settings: Settings, path: Path, label: Label) -> dict[str, Any]:
    """Train one network, leave its files in `path`, and return its `run.json`.

    Raises:
        SettingsError: the configuration cannot be run; nothing was written.
        StoreError: `path` holds a run already or cannot be written.
        JobError: a gradient is wrong (`train.check_gradients`), and nothing was written; or the run
            failed, and what it had recorded is in `path`, with `traceback.txt`.
        Interrupted: Ctrl-C or SIGTERM, after the files were completed.
    """
    one = Run(settings, path, label)
    dataset = prepare(settings)
    with Interrupt() as interrupt:
        train([one], dataset, lambda: interrupt.requested)
    if one.error is not None:
        raise one.error
    interrupt.check()
    return one.info


def prepare(settings: Settings, loaded: Dataset | None = None) -> Dataset:
    """Return the data of a run, which can be made with it; `loaded` are its data, if at hand.

    Raises:
        SettingsError: it cannot.
        JobError: a gradient is wrong (`train.check_gradients`).
    """
    dataset = loaded or load(settings)
    check_data(settings, len(dataset.x_train), dataset.task)
    if settings.train.check_gradients:
        check(settings, dataset)
    return dataset


def check(settings: Settings, dataset: Dataset) -> None:
    """Check the network's gradients at initialisation.

    Raises:
        JobError: one is wrong.
    """
    from gradlab.gradcheck.gradient_report import Options
    from gradlab.gradcheck.three_ways import check_settings

    found = check_settings(settings, dataset, Options())
    if not found.passed:
        log.info("%s", found)
        places = ", ".join(found.report.enters or found.report.wrong or found.differing)
        raise JobError(f"not trained, for its gradients are wrong: the error enters at {places}")
    log.info("%s", found.summary()[-1])


def sentence(info: Mapping[str, Any]) -> str:
    """Say in one line how a run ended."""
    found = [finding["cause"] for finding in info["findings"] if finding["severity"] != "note"]
    where = info["first_nonfinite"]
    if info["status"] == "diverged" and where:
        place = f" at {where['module']}" if where["module"] else ""
        found = [f"first not finite: {where['where']}{place}, step {where['step']}", *found]
    ended = "" if info["status"] in ("completed", "diverged") else f" ({info['status']})"
    return ": ".join([f"{info['verdict'] or 'no verdict'}{ended}", *found[:1]])


def run_info(
    settings: Settings, path: Path, label: Label, dataset: Dataset, members: int
) -> RunInfo:
    """Return what the sinks of a run receive before its first step.

    Args:
        settings: of the run.
        path: its folder.
        label: its name in services, and that of its sweep.
        dataset: its data.
        members: number of runs that this process writes at the same time.
    """
    record = {
        "config_hash": settings.config_hash,
        "seed": settings.seed,
        "data": {
            "inputs": dataset.x_train.shape[1],
            "outputs": dataset.n_out,
            "input_rms": float(dataset.x_train.square().mean().sqrt()),
        },
    }
    return RunInfo(
        name=label.name,
        group=label.group,
        folder=path,
        steps=settings.train.steps,
        config=settings.flat,
        record=record,
        writers=members,
    )


def _folder(path: Path, resume: bool) -> Parquet:
    """Return the folder of a run.

    Raises:
        StoreError: it holds a run that must not be replaced.
    """
    if not free(path, resume):
        raise StoreError(
            f"{path} already holds a run; choose another hydra.run.dir or sweep.dir"
            + ("; sweep.resume=true makes it anew, for it was cut short" * free(path, True))
        )
    return Parquet(path, replace="unfinished" if resume else "nothing")


def _conclude(
    settings: Settings, folder: Parquet, outcome: Outcome, test: dict[str, float | None]
) -> None:
    layers, steps = folder.frames()
    info = folder.info | {"status": outcome.status}
    findings = diagnose(attach(layers, {ALONE: info}, steps)) if len(layers) else Findings()
    folder.finish(
        {
            "status": outcome.status,
            "verdict": findings.verdict if len(layers) else None,
            "findings": findings.as_dicts(),
            "slope": slope(layers),
            "steps": outcome.steps,
            "first_nonfinite": outcome.first_nonfinite,
            "test": test,
            "error": None,
        }
    )
