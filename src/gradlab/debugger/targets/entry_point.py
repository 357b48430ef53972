"""From MODULE:FUNCTION, as a user types it, to what is examined."""

import importlib
import importlib.util
import inspect
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from gradlab.config.choices import wrap_errors
from gradlab.debugger.doctor import examine
from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.targets.script import Script
from gradlab.debugger.targets.step import Given
from gradlab.debugger.targets.training import Subject
from gradlab.errors import SettingsError, nearest

PARTS = ("step", "model", "optimizer", "batch")


def examined(target: str) -> list[Finding]:
    """Call the function that a target names, and examine what it trains or returns.

    It trains by itself, or returns (step, model, optimizer, batch) or an object with these
    attributes (`batches` for many). A file without a function is run as a script.

    Raises:
        SettingsError: there is no such function, or it needs arguments.
        ExaminationError: nothing that trains was seen.
    """
    subject, trace = subject_of(_function(target), target.partition(":")[0])
    return examine(subject, trace)


def subject_of(function: Callable[[], Any], program: str = "") -> tuple[Subject, Trace | None]:
    """Call a function: return it, with what was seen, if it trains; else what it returns."""
    script = Script(function, program or function.__name__)
    trace = script.watched()
    parts = _parts(script.returned)
    return (script, trace) if parts is None else (Given(*parts), None)


def _parts(returned: Any) -> tuple[Any, Any, Any, Any] | None:
    if isinstance(returned, tuple):
        parts: tuple[Any, ...] = returned
        return parts if len(parts) == len(PARTS) and _is_step(parts[0]) else None
    batch = getattr(returned, "batches", getattr(returned, "batch", None))
    step, model, optimizer = (getattr(returned, name, None) for name in PARTS[:3])
    is_whole = _is_step(step) and model is not None and optimizer is not None and batch is not None
    return (step, model, optimizer, batch) if is_whole else None


def _is_step(value: Any) -> bool:
    """Say whether it may be a training step: a model can be called, too, and is none."""
    return callable(value) and not isinstance(value, nn.Module)


def _function(target: str) -> Callable[[], Any]:
    place, _, name = target.partition(":")
    if not place or not (name or place.endswith(".py")):
        hint = _nearest_file(place)
        raise SettingsError(f"expected MODULE:FUNCTION or FILE.py, given '{target}'{hint}")
    if not name:
        return _as_script(_file(place))
    function = _named(place, name)
    needed = [p.name for p in _signature(function) if p.default is p.empty and p.kind < 2]
    if needed:
        raise SettingsError(
            f"expected {target} to need no arguments, but it needs {', '.join(needed)}: wrap it in "
            "a function that trains, or returns (step, model, optimizer, batch)"
        )
    return function


def _named(place: str, name: str) -> Callable[[], Any]:
    path = _file(place) if place.endswith(".py") else None
    with wrap_errors(f"{place} cannot be imported"):
        try:
            module = _from_file(path) if path else _by_name(place)
        except ModuleNotFoundError as error:
            if not f"{place}.".startswith(f"{error.name}."):  # it needs something that is missing
                raise
            raise SettingsError(f"there is no module {place}{_nearest_file(place)}") from error
    own = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    functions = [key for key in own if callable(getattr(module, key))]
    if not callable(getattr(module, name, None)):
        hint = f"; {nearest(name, functions)}" if functions else ", and no other"
        raise SettingsError(f"{place} has no function {name}{hint}")
    return getattr(module, name)


def _file(place: str) -> Path:
    if not Path(place).is_file():
        raise SettingsError(f"{place} is not a file{_nearest_file(place)}")
    return Path(place)


def _nearest_file(place: str) -> str:
    """Return a clause that names the Python file closest to a place, or lists its neighbours."""
    folder, _, name = place.rpartition("/")
    found = [str(Path(folder) / each.name) for each in Path(folder).glob("*.py")]
    return f"; {nearest(str(Path(folder) / name), found)}" if found else ""


def _signature(function: Any) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # not every callable has one
        return []


def _as_script(path: Path) -> Callable[[], Any]:
    def run() -> None:
        runpy.run_path(str(path), run_name="__main__")

    sys.path.insert(0, str(path.parent.resolve()))
    return run


def _by_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, with its neighbours in reach."""
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
