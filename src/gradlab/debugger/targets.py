"""Reads the target of a command line: MODULE:FUNCTION, FILE.py:FUNCTION or FILE.py."""

from pathlib import Path

from gradlab.errors import SettingsError, nearest


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
