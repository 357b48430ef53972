"""Checks of a sweep before its first job starts: it has jobs, and each has a free folder."""

import itertools
import os
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from gradlab.errors import JobError, SettingsError, StoreError
from gradlab.results.owner import Owner, living_owner
from gradlab.results.resume import is_replaceable

FUSED = "hydra_plugins.gradlab_fused.launcher.FusedLauncher"
BY_NUMBER = "${hydra.job.num}"
NAMED = 3  # folders in a message


class RefusedError(BaseException):
    """Ends a command before its first job; Hydra turns exceptions of a callback into warnings.

    Args:
        error: the reason.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def check_run(config: DictConfig) -> None:
    """Check the folder of a single run, before Hydra writes into it.

    A run that starts in the same second as another gets a new folder.

    Args:
        config: the configuration with Hydra's section.

    Raises:
        StoreError: the folder belongs to another run, or cannot be written.
    """
    if not _make_new(config, "run"):
        _check_free([Path(str(config.hydra.run.dir))], _resumes(config))


def check_sweep(config: DictConfig) -> tuple[Owner, int | None]:
    """Check the jobs of a sweep and their folders, and become the owner of the sweep's folder.

    A sweep that starts in the same second as another gets a new folder.

    Args:
        config: the configuration of the sweep.

    Returns:
        The owner of the folder, to be released at the end; and the number of jobs, None with a
        sweeper that decides it later.

    Raises:
        SettingsError: the sweep has no jobs.
        JobError: several jobs share a folder.
        StoreError: a folder belongs to another run, or cannot be written.
    """
    overrides = _parsed_overrides(config)
    jobs = None if overrides is None else BasicSweeper.split_arguments(overrides, None)[0]
    if overrides is not None and not jobs:
        raise SettingsError(_describe_empty(overrides))
    _make_new(config, "sweep")
    folder = Path(str(config.hydra.sweep.dir))
    owner = Owner(folder)
    with _as_store_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        owner.acquire()
    # The fused launcher composes the configurations of all jobs, and checks their folders itself.
    if jobs is not None and config.hydra.launcher.get("_target_") != FUSED:
        try:
            paths = _folders(config, jobs)
            check_shared(paths)
            _check_free(paths, _resumes(config))
        except BaseException:
            owner.release()
            raise
    return owner, None if jobs is None else len(jobs)


def counted_here(config: DictConfig) -> bool:
    """Return whether the launcher runs the jobs in this process or reports to it."""
    return config.hydra.launcher.get("_target_") in (FUSED, _dotted_name(BasicLauncher))


def check_shared(paths: Sequence[Path]) -> None:
    """Refuse jobs of one sweep that would write into the same folder.

    Args:
        paths: the folder of each job.

    Raises:
        JobError: two jobs share a folder.
    """
    jobs: Mapping[Path, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        jobs[path.absolute()].append(number)
    path, numbers = max(jobs.items(), key=lambda item: len(item[1]), default=(Path(), []))
    if len(numbers) > 1:
        raise JobError(
            f"jobs {listed(numbers)} share the folder {os.path.relpath(path)}, so each would "
            "replace the one before it; add the swept keys to hydra.sweep.subdir, or leave it out"
        )


def check_owners(paths: Sequence[Path]) -> None:
    """Refuse folders that a running process writes.

    Args:
        paths: the folder of each job.

    Raises:
        StoreError: a process writes one of the folders.
    """
    for path in paths:
        owner = living_owner(path)
        if owner is not None:
            raise StoreError(
                f"{os.path.relpath(path)} is being written by {owner}; wait until it ends, or "
                "choose another hydra.run.dir or hydra.sweep.dir"
            )


def job_folder(composed: DictConfig) -> Path:
    """Return the folder of a job of a sweep.

    Args:
        composed: the job's configuration with Hydra's section.
    """
    instance: Any = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(composed)
    try:
        folder = Path(str(OmegaConf.select(composed, "hydra.sweep.dir")))
        return folder / str(OmegaConf.select(composed, "hydra.sweep.subdir"))
    finally:
        instance.cfg = before


def _check_free(paths: Sequence[Path], resume: bool) -> None:
    """Refuse folders with other runs.

    Args:
        paths: the folder of each job.
        resume: the value of `sweep.resume`.

    Raises:
        StoreError: a folder belongs to another run.
    """
    check_owners(paths)
    occupied = [os.path.relpath(path) for path in paths if not is_replaceable(path, resume)]
    if occupied and not resume:
        plural = "already hold runs" if len(occupied) > 1 else "already holds a run"
        raise StoreError(
            f"{listed(occupied)} {plural}; choose another hydra.run.dir or hydra.sweep.dir"
            + ("; sweep.resume=true trains only the missing runs" if len(paths) > 1 else "")
        )


def _make_new(config: DictConfig, section: str) -> bool:
    """Make a folder whose name is the time, with a number if another process has just made it.

    Args:
        config: the configuration with Hydra's section; its `dir` is replaced by the name.
        section: "run" or "sweep".

    Returns:
        Whether the name is the time.
    """
    raw: Any = OmegaConf.to_container(config.hydra[section], resolve=False)
    if "${now:" not in raw["dir"]:
        return False
    wanted = Path(str(config.hydra[section].dir))
    with _as_store_error(wanted):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        path = _first_new(wanted)
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra[section].dir = str(path)
        # Hydra composes the configuration of each job from the overrides.
        config.hydra.overrides.hydra.append(f"hydra.{section}.dir='{escaped}'")
    return True


def _first_new(wanted: Path) -> Path:
    """Make a folder with this name, or with a number added to it, and return it."""
    path = wanted
    for number in itertools.count(2):
        try:
            path.mkdir()
        except FileExistsError:
            path = wanted.with_name(f"{wanted.name}-{number}")
        else:
            break
    return path


@contextmanager
def _as_store_error(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def _parsed_overrides(config: DictConfig) -> list[Override] | None:
    """Return the overrides of a sweep; None with another sweeper than Hydra's basic one."""
    sweeper = config.hydra.sweeper
    if sweeper.get("_target_") != _dotted_name(BasicSweeper):
        return None
    params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    with suppress(HydraException):  # Hydra raises the same error later
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        task: Any = OmegaConf.to_container(config.hydra.overrides.task)  # nothing is resolved
        return parser.parse_overrides([*params, *task])
    return None


def _describe_empty(overrides: Sequence[Override]) -> str:
    empty = next(
        each
        for each in overrides
        if each.is_sweep_override() and not list(each.sweep_string_iterator())
    )
    text = empty.input_line or empty.get_key_element()
    hint = "write the names, separated by commas" if "glob" in text else "expected at least one"
    return f"{text} has no values, so the sweep has no jobs; {hint}"


def _folders(config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[Path]:
    """Return the folder of each job.

    Args:
        config: the configuration of the sweep.
        jobs: the overrides of each job.
    """
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if sweep["subdir"] == BY_NUMBER:
        return [Path(str(config.hydra.sweep.dir)) / str(number) for number in range(len(jobs))]
    loader, paths = GlobalHydra.instance().config_loader(), list[Path]()
    for number, overrides in enumerate(jobs):
        composed = loader.load_sweep_config(config, list(overrides))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        paths.append(job_folder(composed))
    return paths


def _resumes(config: DictConfig) -> bool:
    return bool(OmegaConf.select(config, "sweep.resume", default=False))


def listed(items: Sequence[Any]) -> str:
    """Return the first items as text, and the number of the others."""
    texts = [str(item) for item in items]
    if len(texts) > NAMED + 1:
        return f"{', '.join(texts[:NAMED])} and {len(texts) - NAMED} others"
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]


def _dotted_name(plugin: type) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"
