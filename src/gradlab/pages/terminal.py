"""Tables and text for a terminal, or whole lines for a pipe."""

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

NO_WRAP = 10_000  # columns of a pipe: a line must not be cut or wrapped there


def terminal(console: Console | None = None) -> Console:
    """Return a console that neither cuts nor wraps a line if it is a pipe."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=NO_WRAP)


def plain_table(console: Console) -> Table:
    """Return an empty table, ruled only where a person looks at it."""
    return Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)


def write(console: Console, *parts: RenderableType) -> None:
    """Print parts one below the other."""
    with console.capture() as printed:
        for part in parts:
            console.print(part, highlight=False)
    console.file.write(printed.get())  # by ourselves: rich ends the program if the reader has gone
