"""Replace every value of a `run.json` by values of other types.

Run `python benchmarks/faults/mutations.py`. A folder holds a good run and a changed run. gradlab
lists the runs, and diagnoses the changed run if it is valid. Printed: the number of changes, of
changes that gradlab names in a line, of valid changes, and of tracebacks.
"""

import contextlib
import copy
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradlab.cli.main import main as gradlab
from gradlab.cure.examined_run import ExaminedRun
from gradlab.report.run_table import show_runs
from gradlab.results.load import find

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 10**18, 10**400, 1.5, 1e300, float("nan")),
    *("x", "", "\x1b[31m", [], [1], {}, {"a": 1}),
)
RUN = ("run", "model.depth=10", "model.activation=sigmoid", "train.steps=20", "tracking=none")


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value; of a list, only of the first item."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in items:
        yield from paths(item, (*path, key))
    if isinstance(value, list) and value:
        yield from paths(value[0], (*path, 0))


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the content with another value at a path."""
    if not path:
        return value
    content = copy.deepcopy(content)
    target = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return content


def examine(folder: Path) -> str:
    """Return "named", "valid" or "traceback" for the changed run."""
    try:
        if show_runs(folder):
            return "named"
        changed = next(run for run in find(folder).runs if run.name == "changed")
        ExaminedRun(changed, (), ()).diagnose()
    except Exception as error:
        print(type(error).__name__, error)
        return "traceback"
    return "valid"


def main() -> None:
    """Print the counts."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        gradlab([*RUN, f"hydra.run.dir={folder}/good"])
        shutil.copytree(folder / "good", folder / "changed")
        file = folder / "changed" / "run.json"
        content = json.loads(file.read_text())
        counts = Counter[str]()
        for path in paths(content):
            for value in VALUES:
                file.write_text(json.dumps(replaced(content, path, value)))
                counts[examine(folder)] += 1
    print(f"{counts.total()} changes: {dict(counts)}")


if __name__ == "__main__":
    main()
