"""The order of the rooms: a module imports only from rooms above its own, nothing in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gradlab

SOURCE = Path(gradlab.__file__).parent
ROOMS = [
    "errors",
    "schema",
    "reference",
    "pages",
    "config",
    "data",
    "theory",
    "models",
    "recording",
    "training",
    "results",
    "sinks",
    "diagnosis",
    "report",
    "monitor",
    "integrations",
    "gradcheck",
    "mistakes",
    "debugger",
    "explain",
    "runs",
    "cure",
    "cli",
]
FACES = {"__init__", "__main__"}
MODULES = {
    ".".join(["gradlab", *file.relative_to(SOURCE).with_suffix("").parts]): file
    for file in sorted(SOURCE.rglob("*.py"))
}


def imported(file: Path) -> set[str]:
    """The gradlab modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name in MODULES}


GRAPH = {name: imported(file) for name, file in MODULES.items()}


def reach(name: str) -> set[str]:
    seen, waiting = set(), [name]
    while waiting:
        for other in GRAPH[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) not in FACES])
def test_imports_only_from_rooms_above(name):
    for other in GRAPH[name]:
        if room(other) not in (room(name), *FACES):
            assert ROOMS.index(room(other)) < ROOMS.index(room(name)), f"{name} imports {other}"


def test_no_circles():
    for name in MODULES:
        assert name not in reach(name), f"{name} reaches itself"


def test_the_graph_was_really_read():
    assert "gradlab.training.loop" in reach("gradlab.runs.run")
    assert {room(name) for name in MODULES} - FACES <= set(ROOMS)


def test_the_report_never_imports_torch():
    for name in [n for n in MODULES if room(n) == "report"]:
        for module in {name, *reach(name)}:
            assert "import torch" not in MODULES[module].read_text(), f"{name} by way of {module}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))
    assert "util" not in name


@pytest.mark.parametrize(
    "line",
    [
        "import gradlab",
        "import gradlab.cli.main",
        "from gradlab.cli.main import main; main(['--help'])",
        "from gradlab.cli.main import COMMANDS, main; [main([c, '-h']) for c in COMMANDS[1:]]",
    ],
)
def test_help_imports_nothing_heavy(line):
    check = f"import sys; {line}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


HEAVY = ["torch", "wandb", "pandas", "hydra", "numpy", "matplotlib"]
