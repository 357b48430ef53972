"""Reads the target of a command line: MODULE:FUNCTION, FILE.py:FUNCTION or FILE.py."""

import ast
from pathlib import Path

from gradlab.errors import SettingsError, first_line, nearest

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OPAQUE = {"exec", "eval", "globals", "locals", "vars", "setattr", "__getattr__"}
"""Names by which a file may define a function that its text does not show."""


def split_target(target: str) -> tuple[str, str]:
    """Return the module or file of a target, and its function.

    Args:
        target: `MODULE:FUNCTION`, `FILE.py:FUNCTION` or `FILE.py`.

    Returns:
        The module or file, and the function; the function is empty if the file is a script.

    Raises:
        SettingsError: the target has another form, or the file does not exist.
    """
    module, _, name = target.partition(":")
    if not module or not (name or module.endswith(".py")):
        hint = nearest_file(module)
        raise SettingsError(f"expected MODULE:FUNCTION or FILE.py, given '{target}'{hint}")
    if module.endswith(".py") and not Path(module).is_file():
        raise SettingsError(f"{module} is not a file{nearest_file(module)}")
    return module, name


def nearest_file(path: str) -> str:
    """Return a clause with the Python file of the nearest name, empty if the folder has none."""
    folder, _, name = path.rpartition("/")
    found = [str(Path(folder) / each.name) for each in Path(folder).glob("*.py")]
    return f"; {nearest(str(Path(folder) / name), found)}" if found else ""


def check_file(target: str) -> None:
    """Check the syntax of a file and the existence of the function, without running any of it.

    A function that the file makes in another way, such as by `exec` or `import *`, is not checked.

    Args:
        target: `FILE.py:FUNCTION` or `FILE.py`; other targets are not checked.

    Raises:
        SettingsError: the file is not valid Python, or has no such function.
    """
    module, name = split_target(target)
    if not module.endswith(".py"):
        return
    try:
        tree = ast.parse(Path(module).read_bytes(), module)
    except (SyntaxError, ValueError) as error:
        line = f"{module}:{error.lineno}: " if isinstance(error, SyntaxError) else ""
        raise SettingsError(
            f"{module} cannot be imported: {line}{type(error).__name__}: {first_line(error)}"
        ) from error
    except OSError as error:
        raise SettingsError(f"{module} cannot be read: {error.strerror}") from error
    defined = [each for node in tree.body for each in _names(node)]
    if name and name not in defined and "*" not in defined and not OPAQUE & _identifiers(tree):
        functions = [node.name for node in tree.body if isinstance(node, FUNCTIONS)]
        hint = nearest(name, functions) if functions else "it defines none"
        raise SettingsError(f"{module} has no function {name}; {hint}")


def _names(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a file may define."""
    names: list[str] = []
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (*FUNCTIONS, ast.ClassDef)):
            names.append(each.name)
            continue  # names inside are local
        if isinstance(each, ast.Import | ast.ImportFrom):
            names += [(alias.asname or alias.name).split(".")[0] for alias in each.names]
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.append(each.id)
        waiting += ast.iter_child_nodes(each)
    return names


def _identifiers(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
