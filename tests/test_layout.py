"""The structure of the source: the order of the packages, names, sizes of classes, imports."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

import gradlab

SOURCE = Path(gradlab.__file__).parent
PACKAGES = [
    "errors",
    "schema",
    "reference",
    "pages",
    "config",
    "data",
    "theory",
    "models",
    "recording",
    "nonfinite",
    "training",
    "results",
    "black_box",
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
ENTRY_POINTS = {"__init__", "__main__"}
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


def package(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("name", [n for n in MODULES if package(n) not in ENTRY_POINTS])
def test_imports_only_from_rooms_above(name):
    for other in GRAPH[name]:
        if package(other) not in (package(name), *ENTRY_POINTS):
            assert PACKAGES.index(package(other)) < PACKAGES.index(package(name)), (
                f"{name} imports {other}"
            )


def test_no_circles():
    for name in MODULES:
        assert name not in reach(name), f"{name} reaches itself"


def test_the_graph_was_really_read():
    assert "gradlab.training.loop" in reach("gradlab.runs.run")
    assert {package(name) for name in MODULES} - ENTRY_POINTS <= set(PACKAGES)


def test_report_and_pages_never_import_torch():
    for name in [n for n in MODULES if package(n) in ("report", "pages")]:
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


CLASSES = {
    (name, node.name): node
    for name, file in MODULES.items()
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.ClassDef)
}
MOST_ATTRIBUTES = 10
REASON = "# attributes: "
"""A comment with this start, inside a class, gives the reason why it has more attributes."""


def instance_attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes of a class's instances: fields, and what its methods set on self."""
    fields = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and "ClassVar" not in ast.unparse(each.annotation)
    }
    stored = {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }
    return fields | stored


def repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_there_are_at_most_28_packages():
    assert len({package(name) for name in MODULES if name.count(".") > 1}) <= 28


def test_at_the_root_are_only_the_files_that_every_package_uses():
    at_root = {path.name for path in SOURCE.iterdir() if path.is_file()}
    assert at_root == {"__init__.py", "__main__.py", "errors.py", "schema.py", "py.typed"}


def test_no_class_name_is_used_twice():
    assert not repeated(name for _, name in CLASSES)


def test_a_class_with_many_attributes_gives_the_reason():
    for (module, name), node in CLASSES.items():
        attributes = instance_attributes(node)
        if len(attributes) > MOST_ATTRIBUTES:
            source = ast.get_source_segment(MODULES[module].read_text(), node) or ""
            assert REASON in source, f"{module}.{name} has {len(attributes)}: {sorted(attributes)}"


def test_the_attributes_of_a_class_are_counted():
    written = "class A:\n x: int\n y: ClassVar[int]\n def f(self):\n  self.z, self.x = 1, 2"
    (node,) = ast.parse(written).body
    assert instance_attributes(node) == {"x", "z"}


def test_at_most_8_percent_of_the_files_share_their_name():
    files = [file.name for file in MODULES.values() if file.name != "__init__.py"]
    twice = repeated(files)
    sharing = [name for name in files if name in twice]
    assert len(sharing) / len(files) <= 0.08, sorted(twice)
