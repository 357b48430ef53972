"""CONTRIBUTING.md has a recipe for each usual change, and the files and tests in it exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
CHANGES = [
    "A column",
    "A rule",
    "A remedy",
    "A W&B series",
    "A sink",
    "A report figure",
    "A command",
    "An optimiser",
    "A model",
    "An activation",
    "A mistake",
    "An experiment",
]
RECIPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
PATHS = sorted(set(re.findall(r"`((?:src|conf|docs|tests|experiments|benchmarks)/[^`\s]*)`", PAGE)))


def test_there_is_a_recipe_for_each_change():
    assert list(RECIPES) == CHANGES


@pytest.mark.parametrize("path", PATHS)
def test_files_and_tests_in_the_recipes_exist(path):
    file, _, test = path.partition("::")
    before, placeholder, _ = file.partition("NAME")
    assert (ROOT / (before if placeholder else file)).exists()
    if test:
        tree = ast.parse((ROOT / file).read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_recipe_has_steps_and_ends_with_a_test(change):
    steps, _, end = RECIPES[change].partition("\nTest: ")
    assert re.search(r"^1\. `(src|conf)/", steps, re.M)
    assert re.search(r"^2\. `", steps, re.M)
    assert "::test_" in end
