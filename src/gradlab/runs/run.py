"""Trains one run: loads the data, writes the run's folder, and diagnoses the result."""

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
from gradlab.results.resume import describe_occupied, is_free, remove_files
from gradlab.runs.members import Member, Scope, train
from gradlab.sinks.protocol import RunInfo, Sinks
from gradlab.sinks.run_folder import Parquet
from gradlab.training.constant_output import constant_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Label:
    """The name of a run in W&B, and the name of its sweep; None for a single run."""

    name: str
    group: str | None = None


class FolderRun(Member):
    """A run that writes a folder and its tracking services.

    Args:
        settings: the run's settings.
        path: the run's folder.
        label: its name in the tracking services.
        scope: a context manager around everything that concerns only this run.
    """

    def __init__(
        self, settings: Settings, path: Path, label: Label, scope: Scope = nullcontext
    ) -> None:
        super().__init__(settings, path, scope)
        self.label = label
        self.folder: Parquet | None = None
        self.tracking = Sinks((), log.warning)

    @property
    def info(self) -> dict[str, Any]:
        """The content of `run.json`; empty before `open`."""
        return {} if self.folder is None else self.folder.info

    def open(self, dataset: Dataset, members: int) -> None:
        """Make the folder and open the tracking services."""
        self.tracking = Sinks([each.call() for each in self.settings.tracking], log.warning)
        info = run_info(self.settings, self.path, self.label, dataset, members)
        folder = _folder(self.path, self.settings.resume)
        folder.open(info)
        self.folder = folder
        self.tracking.open(info)

    def record(self, rows: Rows) -> None:
        """Write rows to the folder and to the services."""
        assert self.folder is not None
        self.folder.write(rows)
        self.tracking.write(rows)

    def complete(self, outcome: Outcome, test: dict[str, float | None]) -> None:
        """Diagnose the run and complete `run.json`."""
        assert self.folder is not None
        layers, steps = self.folder.frames()
        located = _nonfinite_info(outcome)
        info = self.folder.info | {"status": outcome.status, **located}
        recorded = bool(len(layers))
        findings = diagnose(attach(layers, {ALONE: info}, steps)) if recorded else Findings()
        self.folder.finish(
            {
                "status": outcome.status,
                "verdict": findings.verdict if recorded else None,
                "learning": findings.learning,
                "findings": findings.as_dicts(),
                "slope": slope(layers),
                "steps": outcome.steps,
                "first_nonfinite": outcome.first_nonfinite,
                **located,
                "test": test,
                "error": None,
            }
        )

    def abort(self, status: str, error: str | None = None) -> None:
        """Complete the files, if there are any, without a verdict."""
        if self.folder is not None and (error or self.info["status"] == "running"):
            self.folder.finish({"status": status, "error": error})

    def close(self) -> None:
        """Finish the services, and log the result and the folder."""
        self.tracking.finish(self.info)
        if self.error is None and self.info.get("status") != "running":
            log.info("%s", result_line(self.info))
            log.info("%s", os.path.relpath(self.path))

    def reset(self) -> None:
        """Remove the files and return to the state before `open`."""
        if self.folder is not None:
            remove_files(self.path)
            self.folder.release()
        self.folder, self.tracking, self.error = None, Sinks((), log.warning), None


def run(settings: Settings, path: Path, label: Label) -> dict[str, Any]:
    """Train one network and write its folder.

    Args:
        settings: the run's settings.
        path: the run's folder.
        label: its name in the tracking services.

    Returns:
        The content of `run.json`.

    Raises:
        SettingsError: the configuration is wrong. Nothing was written.
        StoreError: `path` holds a run already or cannot be written.
        JobError: a gradient is wrong (`train.check_gradients`), and nothing was written; or the run
            failed, and its rows are in `path`, with `traceback.txt`.
        Interrupted: Ctrl-C or SIGTERM. The files are complete.
    """
    one = FolderRun(settings, path, label)
    dataset = prepare(settings)
    with Interrupt() as interrupt:
        train([one], dataset, lambda: interrupt.requested)
    if one.error is not None:
        raise one.error
    interrupt.check()
    return one.info


def prepare(settings: Settings, loaded: Dataset | None = None) -> Dataset:
    """Return the data of a run, after checks of the data and, if configured, of the gradients.

    Args:
        settings: the run's settings.
        loaded: its data, if they are in memory.

    Returns:
        The data.

    Raises:
        SettingsError: the data do not suit the settings.
        JobError: a gradient is wrong (`train.check_gradients`).
    """
    dataset = loaded or load(settings)
    check_data(settings, len(dataset.x_train), dataset.task)
    if settings.train.check_gradients:
        check_gradients(settings, dataset)
    return dataset


def check_gradients(settings: Settings, dataset: Dataset) -> None:
    """Check the network's gradients at initialisation.

    Raises:
        JobError: a gradient is wrong.
    """
    from gradlab.gradcheck.gradient_report import Options
    from gradlab.gradcheck.three_ways import check_settings

    check = check_settings(settings, dataset, Options())
    if not check.passed:
        log.info("%s", check)
        names = ", ".join(check.report.enters or check.report.wrong or check.differing)
        raise JobError(f"not trained, because its gradients are wrong: the error enters at {names}")
    log.info("%s", check.summary()[-1])


def _nonfinite_info(outcome: Outcome) -> dict[str, Any]:
    """Return the entry `nonfinite` of `run.json`; empty if no fault was located."""
    if outcome.fault is None:
        return {}
    return {
        "nonfinite": {
            "faults": [outcome.fault],
            "skipped": [],
            "scales": [],
            "attempts": outcome.steps,
        }
    }


def result_line(info: Mapping[str, Any]) -> str:
    """Return the verdict of a run and its main cause in one line."""
    causes = [finding["cause"] for finding in info["findings"] if finding["severity"] != "note"]
    first = info.get("first_nonfinite")  # missing in a run without a diagnosis
    if info["status"] == "diverged" and first:
        module = f" at {first['module']}" if first["module"] else ""
        causes = [f"first not finite: {first['where']}{module}, step {first['step']}", *causes]
    status = "" if info["status"] in ("completed", "diverged") else f" ({info['status']})"
    verdict = info["verdict"] or "no verdict"
    if verdict == "too_early":
        verdict = "too early to judge"
    return ": ".join([f"{verdict}{status}", *causes[:1]])


def run_info(
    settings: Settings, path: Path, label: Label, dataset: Dataset, members: int
) -> RunInfo:
    """Return the information that sinks receive before the first step.

    Args:
        settings: the run's settings.
        path: its folder.
        label: its name in the tracking services.
        dataset: its data.
        members: number of runs that this process writes at the same time.

    Returns:
        The information, with the run's entries of `run.json`.
    """
    record = {
        "config_hash": settings.config_hash,
        "seed": settings.seed,
        "data": {
            "inputs": dataset.x_train.shape[1],
            "outputs": dataset.n_out,
            "input_rms": float(dataset.x_train.square().mean().sqrt()),
            "constant_loss": constant_loss(settings.loss.component, dataset),
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
    """Return the sink of a run's folder.

    Raises:
        StoreError: the folder holds a run that must not be replaced.
    """
    if not is_free(path, resume):
        raise StoreError(
            f"{path} {describe_occupied(path)}; choose another hydra.run.dir or sweep.dir"
            + ("; sweep.resume=true replaces it, because it is unfinished" * is_free(path, True))
        )
    return Parquet(path, replace="unfinished" if resume else "nothing")
