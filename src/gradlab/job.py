"""One run from settings to verdict: where data, loop, files, tracking and rules meet."""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlab.breakdown import broken, described
from gradlab.data.dataset import Dataset, load
from gradlab.diagnose.profile import slope
from gradlab.diagnose.verdict import diagnose, verdict
from gradlab.errors import GradlabError, JobError
from gradlab.foreign import blamed
from gradlab.interrupt import Interrupt
from gradlab.progress import Watching
from gradlab.settings import Settings, check_data
from gradlab.store.folder import Folder
from gradlab.store.tracking import Tracking
from gradlab.theory.configured import decades_per_layer, expected
from gradlab.train.loop import Loop
from gradlab.train.rows import Outcome, Sink

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Label:
    """What a run is called in W&B: its own name, and that of its sweep, if any."""

    name: str
    group: str | None = None


def run(settings: Settings, path: Path, label: Label) -> dict[str, Any]:
    """Train one network, leave its files in `path`, and return its `run.json`.

    Raises:
        SettingsError: the configuration cannot be run; nothing was written.
        StoreError: `path` holds a run already or cannot be written.
        JobError: a gradient is wrong (`train.check_gradients`), and nothing was written; or the run
            failed, and what it had recorded is in `path`, with `traceback.txt`.
        Interrupted: Ctrl-C or SIGTERM, after the files were completed.
    """
    dataset = load(settings)
    check_data(settings, len(dataset.x_train), dataset.task)
    if settings.train.check_gradients:
        check(settings, dataset)
    sinks: list[Sink] = []
    with blamed("the network cannot be built"):  # and leaves no files
        loop = Loop([settings], dataset, [sinks])
    with Interrupt() as interrupt, Watching(settings.train.steps) as watching:
        folder, tracking = Folder(path, settings, dataset), None
        try:
            tracking = _tracking(settings, path, label)
            sinks += [sink for sink in (folder, tracking, watching) if sink is not None]
            (outcome,) = loop.run(stop=lambda: interrupt.asked)
            info = _conclude(settings, folder, outcome, loop.evaluate()[0])
        except KeyboardInterrupt:  # the second signal: the first is waiting for the step to end
            folder.finish({"status": "interrupted"})
            raise
        except GradlabError as error:
            folder.finish({"status": "failed", "error": str(error)})
            raise
        except (Exception, SystemExit) as error:
            told = broken(error, path)
            with suppress(OSError):  # of a full disk; what was flushed before still reads
                folder.finish({"status": "failed", "error": described(error)})
            raise told from error
        finally:
            if tracking is not None:
                tracking.finish(summary(folder.info))
    log.info("%s", sentence(info))
    log.info("%s", os.path.relpath(path))
    interrupt.check()
    return info


def check(settings: Settings, dataset: Dataset) -> None:
    """Check the network's gradients at initialisation.

    Raises:
        JobError: one is wrong.
    """
    from gradlab.check.configured import check_settings
    from gradlab.check.row import Options

    found = check_settings(settings, dataset, Options())
    if not found.passed:
        log.info("%s", found)
        places = ", ".join(found.report.enters or found.report.wrong or found.apart)
        raise JobError(f"not trained, for its gradients are wrong: the error enters at {places}")
    log.info("%s", found.told()[-1])


def summary(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what W&B keeps of a run beside its curves."""
    test = info.get("test") or {}
    return {
        "status": info["status"],
        "verdict": info["verdict"],
        "slope": info.get("slope"),
        "findings": [finding["kind"] for finding in info["findings"]],
        "test_loss": test.get("loss"),
        "test_accuracy": test.get("accuracy"),
    }


def sentence(info: Mapping[str, Any]) -> str:
    """Say in one line how a run ended."""
    found = [finding["cause"] for finding in info["findings"] if finding["severity"] != "note"]
    where = info["first_nonfinite"]
    if info["status"] == "diverged" and where:
        place = f" at {where['site']}" if where["site"] else ""
        found = [f"first not finite: {where['where']}{place}, step {where['step']}", *found]
    ended = "" if info["status"] in ("completed", "diverged") else f" ({info['status']})"
    return ": ".join([f"{info['verdict'] or 'no verdict'}{ended}", *found[:1]])


def _tracking(settings: Settings, path: Path, label: Label) -> Tracking | None:
    if settings.tracking.target is None:
        return None
    return settings.tracking.call(
        folder=path, name=label.name, group=label.group, config=settings.flat
    )


def _conclude(
    settings: Settings, folder: Folder, outcome: Outcome, test: dict[str, float | None]
) -> dict[str, Any]:
    layers, steps = folder.frame(), folder.steps.table().to_pandas()
    config, data = settings.flat, folder.info["data"]
    findings = diagnose(
        layers,
        steps,
        config,
        expected=expected(
            config, data["inputs"], data["outputs"], data["input_rms"], settings.train.batch_size
        ),
        fixed_point=decades_per_layer(config),
    )
    folder.finish(
        {
            "status": outcome.status,
            "verdict": verdict(outcome.status, findings) if len(layers) else None,
            "findings": [finding.as_dict() for finding in findings],
            "slope": slope(layers),
            "steps": outcome.steps,
            "first_nonfinite": outcome.first_nonfinite,
            "test": test,
            "error": None,
        }
    )
    return folder.info
