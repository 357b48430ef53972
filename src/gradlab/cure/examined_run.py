"""The run that `gradlab cure` examines: its files, its overrides and its findings."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gradlab.config import choices
from gradlab.config.settings import GROUPS
from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.errors import SettingsError, StoreError, first_line
from gradlab.results.context import ALONE, attach
from gradlab.results.files import read_text
from gradlab.results.load import Run, find

SEVERITIES = {"mild": 1, "severe": 2}
"""Severities of pathologies as numbers. A finding of another severity is a note."""
DIVERGED = 3
TRUST = "--trust-config"
"""The flag by which the user of `gradlab cure` trusts the configuration in a run's folder."""
IMPORTED = ("model.activation", "model.init", "model.norm")
"""Keys whose value can be the dotted path of a class or function."""
SAFE = re.compile(r"torch\.nn\.(functional\.[a-z]\w*|init\.[a-z]\w*_|[A-Z]\w*)")
"""What an override of a run's folder may name: a class of torch.nn, but not what it imports."""
DROPPED = {"optim": {"lr"}}
"""Keys that a remedy resets when it chooses another file of the group, although both have them."""


@dataclass(frozen=True)
class ExaminedRun:
    """A run on disk and how its user configured it.

    Attributes:
        files: the run's files.
        overrides: the Hydra overrides that its user typed.
        search_path: entries that its user added to Hydra's search path, such as `file:///a/conf`.
    """

    files: Run
    overrides: tuple[str, ...]
    search_path: tuple[str, ...]

    @property
    def user_folders(self) -> list[Path]:
        """The folders in `search_path`."""
        return [Path(each.removeprefix("file://")) for each in self.search_path if "file:" in each]

    @property
    def status(self) -> str:
        """The status in `run.json`: `completed`, `diverged`, …."""
        return self.files.info["status"]

    @property
    def diverged(self) -> bool:
        """Whether the run ended with a loss or gradient that is not finite."""
        return self.status == "diverged"

    def diagnose(self) -> Findings:
        """Diagnose the recorded rows.

        Returns:
            The findings.

        Raises:
            StoreError: the run has no rows, or its files cannot be read.
        """
        layers, steps = self.files.layers(), self.files.steps()
        if layers.empty:
            raise StoreError(f"{self.files.path} has no recorded rows, so there is no finding")
        return diagnose_rows(layers, steps, self.files.config, self.files.info.get("data"))


def open_run(
    folder: str | Path, search_path: Sequence[str] = (), trusted: bool = False
) -> ExaminedRun:
    """Return the run in `folder`. This executes nothing in the folder.

    Args:
        folder: the folder of the run, which someone else may have written.
        search_path: the user's own entries for Hydra's search path.
        trusted: whether the user trusts the configuration in the folder: its search path, and
            overrides that import code.

    Returns:
        The run.

    Raises:
        StoreError: the folder holds no run or several, the files cannot be read, or the
            configuration could run code and is not trusted.
    """
    root = Path(folder)
    found = find(root)
    if not (root / "run.json").exists():
        worst = most_severe(found.runs)
        raise StoreError(
            f"expected the folder of one run, but {folder} holds {len(found.runs)}; "
            f"for the run with the most severe findings: gradlab cure {worst.path}"
        )
    run = next((each for each in found.runs if each.path == root), None)
    if run is None:
        raise StoreError(found.damaged[0])
    file = root / ".hydra" / "overrides.yaml"
    overrides = tuple(map(str, _read(file, list)))
    recorded = _added_search_path(root / ".hydra" / "hydra.yaml")
    if trusted:
        return ExaminedRun(run, overrides, (*search_path, *recorded))
    for each in overrides:
        reason = why_untrusted(each)
        if reason is not None:
            raise StoreError(
                f"{file} has {each!r:.80}, which {reason}; if you trust it, add {TRUST}"
            )
    if recorded and not search_path:
        raise StoreError(
            f"the run used choices from {', '.join(recorded):.200}; if they are yours, add the "
            f"folder: -cd DIR. If you trust the run, add {TRUST}"
        )
    return ExaminedRun(run, overrides, tuple(search_path))


def why_untrusted(text: str) -> str | None:
    """Return why an override of a run's folder is not used unless the user trusts the folder.

    Args:
        text: the override.

    Returns:
        A clause; None if the override only chooses among gradlab's choices and torch's classes, and
        sets values.
    """
    if "${" in text:
        return "reads other values, such as variables of the environment"
    if "_target_" in text or "_partial_" in text or "_args_" in text:
        return "imports code"
    override = parse(text)
    key = override.key_or_group
    if key.split(".")[0] == "hydra" or key.startswith("hydra/"):
        return "configures Hydra"
    if key in IMPORTED and "." in _value(override) and not SAFE.fullmatch(_value(override)):
        return "imports code"
    return None


def most_severe(runs: Sequence[Run]) -> Run:
    """Return the run with the most severe findings, the first one of several."""
    return max(runs, key=lambda run: _sort_key(run.info))


def _sort_key(info: Mapping[str, Any]) -> tuple[bool, int, int, float]:
    severities = [finding["severity"] for finding in info["findings"]]
    sizes = [abs(finding["evidence"].get("decades", 0.0)) for finding in info["findings"]]
    diverged = info["status"] == "diverged"
    return diverged, severities.count("severe"), severities.count("mild"), max(sizes, default=0.0)


def _added_search_path(file: Path) -> tuple[str, ...]:
    """Return the user's entries in Hydra's search path, with absolute folders."""
    content = _read(file, dict)
    try:
        runtime = content["hydra"]["runtime"]
        cwd = Path(runtime["cwd"])
        sources = [
            (str(source["schema"]), str(source["path"]))
            for source in runtime["config_sources"]
            if source["provider"] not in ("hydra", "main", "schema")
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file} is damaged: expected the search path of Hydra") from error
    return tuple(
        f"{scheme}://{cwd / path if scheme == 'file' else path}" for scheme, path in sources
    )


def _read(file: Path, kind: type) -> Any:
    """Read a YAML file of Hydra. The safe loader creates no Python objects."""
    if file.parent.is_symlink():
        raise StoreError(f"{file.parent} is a symbolic link, which gradlab does not follow")
    try:
        content = yaml.safe_load(read_text(file))
    except FileNotFoundError:
        reason = "gradlab run writes it, and it holds the run's configuration"
        raise StoreError(f"{file} is missing: {reason}") from None
    except RecursionError:
        raise StoreError(f"{file} is damaged: its values are nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        raise StoreError(f"{file} is damaged: {first_line(error)}") from error
    if not isinstance(content, kind):
        raise StoreError(f"{file} is damaged: expected a {kind.__name__}, as Hydra writes it")
    return content


def diagnose_rows(
    layers: pd.DataFrame,
    steps: pd.DataFrame,
    config: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
) -> Findings:
    """Return the findings of a run.

    Args:
        layers: the rows of `layers.parquet`.
        steps: the rows of `steps.parquet`.
        config: the configuration, keyed by dotted name.
        data: the entry `data` of `run.json`. With it, the causes state the value from theory.

    Returns:
        The findings, most severe first.
    """
    return diagnose(attach(layers, {ALONE: {"config": config, "data": data}}, steps))


def kinds(findings: Sequence[Finding], diverged: bool) -> tuple[str, ...]:
    """Return the kinds of pathologies, each once: `("vanishing", "dead")`; empty if healthy."""
    names = [each.kind for each in findings if each.severity in SEVERITIES]
    return tuple(dict.fromkeys([*(["diverged"] if diverged else []), *names]))


def severity(findings: Sequence[Finding], diverged: bool) -> int:
    """Return the severity of a run: 0 healthy, 1 mild, 2 severe, 3 diverged."""
    return (
        DIVERGED if diverged else max((SEVERITIES.get(f.severity, 0) for f in findings), default=0)
    )


def replace_overrides(
    overrides: Sequence[str], new: Sequence[str], user_folders: Sequence[Path] = ()
) -> list[str]:
    """Add overrides, and remove the earlier overrides that contradict them.

    `optim=adam` removes `optim=sgd`, `optim.momentum` and `optim.lr`: Hydra refuses a group that is
    set twice and a key that the chosen file lacks, and the learning rate was for another optimiser.

    Args:
        overrides: overrides of a run, as its user typed them.
        new: the overrides to add.
        user_folders: the user's folders of configuration files.

    Returns:
        The overrides that remain, then `new`.

    Raises:
        SettingsError: a text is not an override, or names a choice that does not exist.
    """
    parsed = [parse(each) for each in new]
    replaced = {each.key_or_group for each in parsed}
    valid_keys = {
        group: {*choices.load(group, _value(each), user_folders)} - DROPPED.get(group, set())
        for each in parsed
        if (group := each.key_or_group) in GROUPS
    }

    def remains(text: str) -> bool:
        key = parse(text).key_or_group
        group, _, rest = key.partition(".")
        valid = group not in valid_keys or not rest or rest in valid_keys[group]
        return key not in replaced and valid

    return [*filter(remains, overrides), *new]


def parse(text: str) -> Override:
    """Parse an override.

    Returns:
        The parsed override.

    Raises:
        SettingsError: the text is not an override.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise SettingsError(f"{text} is not an override: {first_line(error)}") from error


def without_group(overrides: Sequence[str], group: str) -> list[str]:
    """Return the overrides of all other groups."""
    return [each for each in overrides if parse(each).key_or_group.split(".")[0] != group]


def search_path_override(search_path: Sequence[str]) -> list[str]:
    """Return the override that adds folders to Hydra's search path, in a list; empty for none."""
    quoted = ",".join(f"'{each}'" for each in search_path)
    return [f"hydra.searchpath=[{quoted}]"] if search_path else []


def command_line(overrides: Sequence[str], search_path: Sequence[str] = ()) -> str:
    """Return the command that runs `overrides`, quoted for a shell."""
    return shlex.join(["gradlab", "run", *search_path_override(search_path), *overrides])


def _value(override: Override) -> str:
    value = override.value()
    return str(getattr(value, "text", value))
