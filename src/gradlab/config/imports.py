"""Code that gradlab did not write: found by its dotted path, and told in one line when it fails."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from gradlab.errors import GradlabError, SettingsError, first_line


def locate(path: str) -> Callable[..., Any]:
    """Import what a dotted path leads to.

    Raises:
        SettingsError: nothing callable is there; the message names the nearest that is.
    """
    with blamed(f"{path} cannot be imported"):
        first, *rest = path.split(".")
        found: Any = import_module(first)
        reached = first
        for part in rest:
            found = _within(found, reached, part)
            reached = f"{reached}.{part}"
    if not callable(found):
        raise SettingsError(
            f"expected a class or a function, but {path} is a {type(found).__name__}"
        )
    return found


@contextmanager
def blamed(what: str) -> Generator[None]:
    """Tell whatever goes wrong inside as a mistake in the settings: `what`, and the error's line.

    Also an attempt to end the program, which must not pass for a success.

    Raises:
        SettingsError: something went wrong; an error of ours passes as it is.
    """
    try:
        yield
    except GradlabError:
        raise
    except SystemExit as error:
        raise SettingsError(f"{what}: it ends the program") from error
    except Exception as error:
        raise SettingsError(f"{what}: {first_line(error)}") from error


def _within(parent: Any, path: str, part: str) -> Any:
    """Return what `parent`, found at `path`, has under the name `part`; import it if need be."""
    if isinstance(parent, ModuleType) and not hasattr(parent, part):
        try:
            import_module(f"{path}.{part}")
        except ModuleNotFoundError as error:
            if error.name != f"{path}.{part}":  # it is there, but needs something that is not
                raise
    if not hasattr(parent, part):
        close = get_close_matches(part, dir(parent), n=1)
        hint = f"; did you mean {path}.{close[0]}?" if close else ""
        raise AttributeError(f"{path} has no {part}{hint}")
    return getattr(parent, part)
