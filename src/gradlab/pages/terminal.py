"""Print tables and text. A terminal gets lines of its width, a pipe gets whole lines."""

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

NO_WRAP = 10_000  # columns of a pipe, so that rich neither cuts nor wraps a line


def terminal(console: Console | None = None) -> Console:
    """Return a console. If it writes to a pipe, it neither cuts nor wraps lines."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=NO_WRAP)


def plain_table(console: Console) -> Table:
    """Return an empty table, with a line below its heading only in a terminal."""
    return Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)


def write(console: Console, *parts: RenderableType) -> None:
    """Print each part below the previous one."""
    with console.capture() as printed:
        for part in parts:
            console.print(part, highlight=False)
    console.file.write(printed.get())  # not by rich, which ends the program if the pipe closes
