"""Loads the training of a command line: MODULE:FUNCTION, FILE.py:FUNCTION or FILE.py."""

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
from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.examine import examine
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.targets import nearest_file, split_target
from gradlab.debugger.trainings import (
    Experiments,
    LocalExperiments,
    ScriptTraining,
    StepTraining,
    Training,
)
from gradlab.errors import SettingsError, nearest

PARTS = ("step", "model", "optimizer", "batch")


def examine_target(
    target: str, experiments: Callable[[Training], Experiments] = LocalExperiments
) -> list[CodeFinding]:
    """Load the training of a target, and examine it.

    The function either trains, or returns (step, model, optimizer, batch) or an object with these
    attributes (`batches` for several batches). A file without a function runs as a script.

    Args:
        target: `MODULE:FUNCTION`, `FILE.py:FUNCTION` or `FILE.py`.
        experiments: returns the object that runs the training again.

    Returns:
        The findings.

    Raises:
        SettingsError: the function does not exist, or needs arguments.
        ExaminationError: the program does not train.
    """
    training, trace = load_training(load_function(target), target.partition(":")[0])
    return examine(training, trace, experiments(training))


def repeat_target(target: str, *, returns_step: bool) -> Training:
    """Load the training of a target for another run.

    Args:
        target: `MODULE:FUNCTION`, `FILE.py:FUNCTION` or `FILE.py`.
        returns_step: whether its function returns the parts of a training.

    Returns:
        The training.
    """
    function, program = load_function(target), target.partition(":")[0]
    if returns_step:
        return load_training(function, program)[0]
    return ScriptTraining(function, program)


def load_training(function: Callable[[], Any], program: str = "") -> tuple[Training, Trace | None]:
    """Call a function and return its training.

    Args:
        function: trains, or returns the parts of a training.
        program: the first word of its command line.

    Returns:
        The training, and the trace of this call if the function itself trains.
    """
    script = ScriptTraining(function, program or function.__name__)
    trace = script.first_run()
    parts = _parts(script.returned)
    return (script, trace) if parts is None else (StepTraining(*parts), None)


def _parts(returned: Any) -> tuple[Any, Any, Any, Any] | None:
    if isinstance(returned, tuple):
        parts: tuple[Any, ...] = returned
        return parts if len(parts) == len(PARTS) and _is_step(parts[0]) else None
    batch = getattr(returned, "batches", getattr(returned, "batch", None))
    step, model, optimizer = (getattr(returned, name, None) for name in PARTS[:3])
    is_whole = _is_step(step) and model is not None and optimizer is not None and batch is not None
    return (step, model, optimizer, batch) if is_whole else None


def _is_step(value: Any) -> bool:
    """Return whether a value may be a training step; a model is callable but not a step."""
    return callable(value) and not isinstance(value, nn.Module)


def load_function(target: str) -> Callable[[], Any]:
    """Import the function of a target.

    Args:
        target: `MODULE:FUNCTION`, `FILE.py:FUNCTION` or `FILE.py`.

    Returns:
        A function without arguments; for a file, it runs the file.

    Raises:
        SettingsError: the function does not exist, or needs arguments.
    """
    module, name = split_target(target)
    if not name:
        return _as_script(Path(module))
    function = _attribute(module, name)
    needed = [p.name for p in _parameters(function) if p.default is p.empty and p.kind < 2]
    if needed:
        raise SettingsError(
            f"expected {target} to need no arguments, but it needs {', '.join(needed)}: wrap it in "
            "a function that trains, or returns (step, model, optimizer, batch)"
        )
    return function


def _attribute(name_of_module: str, name: str) -> Callable[[], Any]:
    path = Path(name_of_module) if name_of_module.endswith(".py") else None
    with wrap_errors(f"{name_of_module} cannot be imported"):
        try:
            module = _from_file(path) if path else _by_name(name_of_module)
        except ModuleNotFoundError as error:
            if not f"{name_of_module}.".startswith(f"{error.name}."):  # an import inside it fails
                raise
            hint = nearest_file(name_of_module)
            raise SettingsError(f"there is no module {name_of_module}{hint}") from error
    names = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    functions = [key for key in names if callable(getattr(module, key))]
    if not callable(getattr(module, name, None)):
        hint = f"; {nearest(name, functions)}" if functions else ", and no other"
        raise SettingsError(f"{name_of_module} has no function {name}{hint}")
    return getattr(module, name)


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # not every callable has a signature
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
    """Import a file as a module; it can import other files of its folder."""
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
