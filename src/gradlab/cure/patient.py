"""The run to cure: its files, and the configuration that Hydra left beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gradlab.errors import StoreError
from gradlab.results.load import Run, find


@dataclass(frozen=True)
class Patient:
    """A run, the overrides that made it, and the folders of its user's own choices."""

    run: Run
    overrides: tuple[str, ...]
    searched: tuple[str, ...]

    @property
    def own(self) -> list[Path]:
        """The folders among `searched`."""
        return [Path(each.removeprefix("file://")) for each in self.searched if "file:" in each]


def admit(folder: str | Path) -> Patient:
    """Return the run in `folder`.

    Raises:
        StoreError: there is no run, or more than one, or its files cannot be read.
    """
    root = Path(folder)
    found = find(root)
    if not (root / "run.json").exists():
        worst = sickest(found.runs)
        raise StoreError(
            f"expected the folder of one run, but {folder} holds {len(found.runs)}; "
            f"of the sickest: gradlab cure {worst.path}"
        )
    run = next((each for each in found.runs if each.path == root), None)
    if run is None:
        raise StoreError(found.damaged[0])
    overrides = _read(root / ".hydra" / "overrides.yaml", list)
    return Patient(run, tuple(map(str, overrides)), _searched(root / ".hydra" / "hydra.yaml"))


def sickest(runs: Sequence[Run]) -> Run:
    """Return the run with the gravest findings, the first of several."""
    return max(runs, key=lambda run: _gravity(run.info))


def _gravity(info: Mapping[str, Any]) -> tuple[bool, int, int, float]:
    grades = [finding["severity"] for finding in info["findings"]]
    sizes = [abs(finding["evidence"].get("decades", 0.0)) for finding in info["findings"]]
    diverged = info["status"] == "diverged"
    return diverged, grades.count("gross"), grades.count("mild"), max(sizes, default=0.0)


def _searched(file: Path) -> tuple[str, ...]:
    """Return what the run's user had added to Hydra's search path, folders absolute."""
    runtime = _read(file, dict).get("hydra", {}).get("runtime", {})
    sources = [
        (source["schema"], source["path"])
        for source in runtime.get("config_sources", [])
        if source.get("provider") not in ("hydra", "main", "schema")
    ]
    cwd = Path(runtime.get("cwd", "."))
    return tuple(
        f"{scheme}://{cwd / path if scheme == 'file' else path}" for scheme, path in sources
    )


def _read(file: Path, kind: type) -> Any:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        told = "it says how the run was configured, and gradlab run leaves it"
        raise StoreError(f"{file} is missing: {told}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StoreError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(content, kind):
        raise StoreError(f"{file} is damaged: expected a {kind.__name__} as Hydra leaves it")
    return content
