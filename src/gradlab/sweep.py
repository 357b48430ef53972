"""`gradlab run`: Hydra composes the configuration of each job, this hands it on and counts up."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gradlab import choices
from gradlab.errors import GradlabError, StoreError
from gradlab.overrides import as_settings_error
from gradlab.settings import from_config

log = logging.getLogger(__name__)

failures: list[GradlabError] = []
"""Of a single run: kept here rather than raised through Hydra, which would add lines of its own."""


class Sweep(Callback):
    """Remembers where the sweep's jobs lie, for the summary."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder before the first job starts."""
        Sweep.folder = Path(config.hydra.sweep.dir)


def run(arguments: Sequence[str]) -> int:
    """Run `arguments`, Hydra overrides and flags, and return the exit code.

    Raises:
        SettingsError: the configuration is wrong.
        GradlabError: the run, or every run of the sweep, failed.
    """
    Sweep.folder = None
    failures.clear()
    sys.argv = [sys.argv[0], *arguments]
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise its errors rather than print and exit
    try:
        main = hydra.main(
            config_path=str(choices.conf_dir()), config_name="config", version_base="1.3"
        )
        main(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if asked:
            raise
        raise as_settings_error(error) from error
    except GradlabError as error:
        failures.append(error)
    except OSError as error:  # of Hydra, which makes the jobs' folders
        raise StoreError(f"{error.filename} cannot be written: {error.strerror}") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked
        finished = summarise(Sweep.folder) if Sweep.folder else 0
    if failures and not finished:
        raise failures[0]
    return 1 if failures else 0


def job(config: DictConfig) -> float | None:
    """Run one job; return its held-out loss, which is what Hydra's optimising sweepers minimise."""
    from gradlab.job import Label, run

    context = HydraConfig.get()
    swept = context.mode == RunMode.MULTIRUN
    try:
        settings = from_config(_plain(config))
        path = Path(context.runtime.output_dir)
        sweep = Path(context.sweep.dir)
        group = "/".join(sweep.parts[-2:]) if swept else None
        name = context.job.override_dirname or path.name
        return run(settings, path, Label(name, group))["test"]["loss"]
    except OmegaConfBaseException as error:
        failure: GradlabError = as_settings_error(error)
    except GradlabError as error:
        failure = error
    if swept:  # Hydra goes on with the other jobs, and raises the first failure at the end
        log.error("failed: %s", failure)
        raise failure
    failures.append(failure)
    return None


def summarise(folder: Path) -> int:
    """Print how the runs of a sweep ended, name those that failed, and return how many did not."""
    from gradlab.report.sentences import count
    from gradlab.store.load import find

    told: Counter[str] = Counter()
    failed: list[str] = []
    with suppress(StoreError):
        for each in find(folder).runs:
            if each.info["status"] == "failed":
                failed.append(f"  {each.path}: {each.info.get('error')}")
            else:
                told[each.info["verdict"] or each.info["status"]] += 1
    started = {path.parent.parent for path in folder.glob("*/.hydra/overrides.yaml")}
    failed += [
        f"  {path}: see {path}/gradlab.log" for path in sorted(started) if not _has_run(path)
    ]
    counts = ", ".join(f"{number} {word}" for word, number in told.most_common())
    print(f"{count(told.total(), 'run')}: {counts or 'none finished'}; {len(failed)} failed")
    print("\n".join([*failed, f"gradlab report {folder}"]), flush=True)
    return told.total()


def _has_run(path: Path) -> bool:
    return (path / "run.json").exists()


def _plain(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
