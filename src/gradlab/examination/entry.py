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

from gradlab.errors import SettingsError, nearest
from gradlab.examination.doctor import examine
from gradlab.examination.finding import Finding
from gradlab.examination.subject import Given, Script, Subject
from gradlab.examination.trace import Trace
from gradlab.foreign import blamed

PARTS = ("step", "model", "optimizer", "batch")


def examined(target: str) -> list[Finding]:
    """Call the function that a target names, and examine what it trains or returns.

    It trains by itself, or returns (step, model, optimizer, batch) or an object with these
    attributes (`batches` for many). A file without a function is run as a script.

    Raises:
        SettingsError: there is no such function, or it needs arguments.
        ExaminationError: nothing that trains was seen.
    """
    subject, trace = subject_of(_function(target))
    return examine(subject, trace)


def subject_of(function: Callable[[], Any]) -> tuple[Subject, Trace | None]:
    """Call a function: return it, with what was seen, if it trains; else what it returns."""
    script = Script(function)
    trace = script.watched()
    parts = _parts(script.returned)
    return (script, trace) if parts is None else (Given(*parts), None)


def _parts(returned: Any) -> tuple[Any, Any, Any, Any] | None:
    if isinstance(returned, tuple):
        parts: tuple[Any, ...] = returned
        return parts if len(parts) == len(PARTS) and callable(parts[0]) else None
    if all(hasattr(returned, name) for name in PARTS[:3]):
        batch = returned.batches if hasattr(returned, "batches") else returned.batch
        return returned.step, returned.model, returned.optimizer, batch
    return None


def _function(target: str) -> Callable[[], Any]:
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise SettingsError(f"{place} is not a file")
    if not name:
        if not is_file:
            raise SettingsError(f"expected MODULE:FUNCTION or FILE.py, given {target}")
        return _as_script(Path(place))
    with blamed(f"{place} cannot be imported"):
        module = _from_file(Path(place)) if is_file else _by_name(place)
    functions = [key for key, value in vars(module).items() if callable(value)]
    if not callable(getattr(module, name, None)):
        raise SettingsError(f"{place} has no function {name}; {nearest(name, functions)}")
    function = getattr(module, name)
    needed = [p.name for p in _signature(function) if p.default is p.empty and p.kind < 2]
    if needed:
        raise SettingsError(
            f"expected {target} to need no arguments, but it needs {', '.join(needed)}: wrap it in "
            "a function that trains, or returns (step, model, optimizer, batch)"
        )
    return function


def _signature(function: Any) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # not every callable has one
        return []


def _as_script(path: Path) -> Callable[[], Any]:
    def run() -> None:
        argv, sys.argv = sys.argv, [str(path)]
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            sys.argv = argv

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
