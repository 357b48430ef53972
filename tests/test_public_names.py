"""The public names of `gradlab`, their imports, and their docstrings."""

import doctest
import inspect
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import gradlab
from tests.report.runs import write_run

ROOT = Path(__file__).parents[1]
SOURCE = Path(gradlab.__file__).parent
PUBLIC = [
    "BlackBox",
    "Finding",
    "Findings",
    "GradlabError",
    "Monitor",
    "__version__",
    "check_gradients",
    "diagnose",
    "doctor",
    "integrations",
    "load",
    "phase",
    "predict",
    "replay",
    "sinks",
    "watch",
]

FUNCTIONS = [name for name in PUBLIC if inspect.isfunction(getattr(gradlab, name))]
WITH_EXAMPLES = sorted(
    ".".join(["gradlab", *file.relative_to(SOURCE).with_suffix("").parts])
    for file in SOURCE.rglob("*.py")
    if ">>> " in file.read_text() and file.name != "__main__.py"
)


def run_python(line: str) -> str:
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_dir_lists_exactly_the_public_names_before_and_after_use():
    listed = "import gradlab; before = dir(gradlab); "
    listed += f"[getattr(gradlab, n) for n in {PUBLIC}]; print(before == dir(gradlab) == {PUBLIC})"
    assert gradlab.__all__ == PUBLIC == sorted(PUBLIC)
    assert run_python(listed) == "True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'wach'"):
        _ = gradlab.wach


def test_the_version_is_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert gradlab.__version__ == project["version"]


@pytest.mark.parametrize(
    ("path", "module"),
    [("sinks", "gradlab.sinks"), ("integrations", "gradlab.integrations")],
)
def test_packages_are_attributes_after_import_gradlab(path, module):
    assert run_python(f"import gradlab; print(gradlab.{path}.__name__)") == module


@pytest.mark.parametrize(
    ("name", "library"), [("lightning", "pytorch_lightning"), ("huggingface", "transformers")]
)
def test_integrations_are_attributes_after_import_gradlab(name, library):
    pytest.importorskip(library)
    line = f"import gradlab; print(gradlab.integrations.{name}.__name__)"
    assert run_python(line) == f"gradlab.integrations.{name}"


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    write_run(tmp_path / "multirun" / "0", verdict="vanishing")  # for the example of `load`
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_docstring_documents_arguments_result_and_an_example(name):
    function = getattr(gradlab, name)
    text = inspect.getdoc(function) or ""
    sections = dict(re.findall(r"^(Args|Returns|Raises):\n((?: +.*\n?|\n)+)", text, re.M))
    arguments = re.findall(r"^    (\w+):", sections.get("Args", ""), re.M)
    assert re.match(r"[A-Z][^\n]*\.\n", text), "the summary is one sentence on one line"
    assert arguments == list(inspect.signature(function).parameters)
    assert "Returns" in sections
    assert "Raises" in sections
    assert doctest.DocTestParser().get_examples(text), "an example"
