"""Whether the user's code sets weights free somewhere: what is frozen now may be meant to thaw."""

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import resolve_name
from typing import Any

from gradlab.debugger.observe.source_lines import is_library

_HOUSE = __name__.partition(".")[0]


def thaws(files: Iterable[str]) -> bool:
    """Say whether one of these files, or of the user's modules that they import, sets weights free.

    That is any `requires_grad` set to something else than a plain False: what is set there, and to
    which weights, only the rest of the training would tell.
    """
    waiting, seen = [*files], set[str]()
    while waiting:
        file = waiting.pop()
        if file in seen or is_library(file):
            continue
        seen.add(file)
        tree = _parsed(file)
        if any(map(_frees, ast.walk(tree))):
            return True
        waiting += _imported(tree, file)
    return False


def _parsed(file: str) -> ast.Module:
    with suppress(SyntaxError):
        return ast.parse("".join(linecache.getlines(file)))
    return ast.Module([], [])


def _frees(node: ast.AST) -> bool:
    """Say whether this is `w.requires_grad_()`, or `w.requires_grad = True`, or of a variable."""
    if isinstance(node, ast.Call):
        function, given = node.func, [*node.args, *(each.value for each in node.keywords)]
        is_setter = isinstance(function, ast.Attribute) and function.attr == "requires_grad_"
        return is_setter and not any(map(_is_false, given))
    if isinstance(node, ast.Assign):
        targets = [each for target in node.targets for each in ast.walk(target)]
        is_set = any(isinstance(t, ast.Attribute) and t.attr == "requires_grad" for t in targets)
        return is_set and not _is_false(node.value)
    return False


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _imported(tree: ast.Module, file: str) -> Iterator[str]:
    """Yield the files of the modules that were imported under the names of import statements."""
    own: dict[str, Any] = {k: vars(m) for k, m in sys.modules.items() if hasattr(m, "__dict__")}
    package = next((m.get("__package__") for m in own.values() if m.get("__file__") == file), None)
    for name in _names(tree, package or ""):
        found = own.get(name, {}).get("__file__")
        if found and name.partition(".")[0] != _HOUSE:
            yield found


def _names(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # a relative import of a script, which has no package
                name = resolve_name("." * node.level + (node.module or ""), package)
                yield from (name, *(f"{name}.{each.name}" for each in node.names))
