"""The programs of the benchmark, and their labels.

Each file of `programs/` begins with its labels:

    # truth: phase=backward operation=sqrt step=12 module=encoder.1 style=mlp
    # twin: the reason why correct code contains non-finite values (rare)

Both may have several lines. `phase` is the part of the step in which the first non-finite value
appears (`PHASES`; `skipped`: in each step, and a gradient scaler skips each update). `operation`
lists the accepted names of the operation, `step` counts the updates from 0, `module` is the
innermost module, `none` outside of modules. `kind=masked` or `kind=half` marks a value that a mask
hides, and float16 or bfloat16 arithmetic. `sample` is the index of the wrong sample in the batch.

A program is a script: preparations, and one loop `for step in range(60)` that trains `model` with
`optimizer` and appends to `losses`. Lines that end in `# broken` are wrong, and comments that begin
with `# fixed:` replace them in the correct twin. Lines that end in `# <- here` are the place where
the value appears. Tools get the program without these marks; no line changes its number.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

FOLDER = Path(__file__).parent / "programs"
PHASES = ("forward", "backward", "update", "data", "skipped")
STYLES = ("mlp", "cnn", "rnn", "transformer", "functional")
KINDS = ("plain", "masked", "half")
HERE = re.compile(r"  # (?:broken )?<- here$")
BROKEN = re.compile(r"  # broken(?: <- here)?$")
FIXED = re.compile(r"^( *)# fixed: ")


@dataclass(frozen=True)
class Truth:
    """The first non-finite value of a program.

    Attributes:
        phase: the part of the step, one of `PHASES`.
        operations: accepted names of the operation.
        step: the update, from 0.
        module: the dotted name of the innermost module, `none` outside of modules.
        lines: the accepted line numbers.
        sample: the index of the wrong sample in the batch, None without one.
    """

    phase: str
    operations: frozenset[str]
    step: int
    module: str
    lines: frozenset[int]
    sample: int | None


@dataclass(frozen=True)
class Program:
    """One program and its labels.

    Attributes:
        name: the name of its file.
        source: the text of its file, with all marks.
        truth: the first non-finite value.
        style: the kind of network, one of `STYLES`.
        kind: `masked`, `half` or `plain`.
        twin_note: the reason why the twin may contain non-finite values, empty if it has none.
    """

    name: str
    source: str
    truth: Truth
    style: str
    kind: str
    twin_note: str

    def broken(self) -> str:
        """Return the program without marks; lines of the fix are blank."""
        lines = ["" if FIXED.match(line) else line for line in self.source.splitlines()]
        return _join(re.sub(HERE, "", re.sub(BROKEN, "", line)) for line in lines)

    def fixed(self) -> str:
        """Return the correct twin without marks; wrong lines are blank."""
        lines = ["" if BROKEN.search(line) else line for line in self.source.splitlines()]
        return _join(re.sub(HERE, "", FIXED.sub(r"\1", line)) for line in lines)


def _join(lines: Iterable[str]) -> str:
    """Return the lines as a text, without the labels."""
    return "\n".join("" if line.startswith(("# truth: ", "# twin: ")) else line for line in lines)


@cache
def programs() -> tuple[Program, ...]:
    """Return all programs in the order of their names."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.py")))


def _read(path: Path) -> Program:
    source = path.read_text()
    head = source.partition('"""')[0]
    labels = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^# truth: (.*)$", head, re.M))))
    twin_note = " ".join(re.findall(r"^# twin: (.*)$", head, re.M))
    here = [i for i, line in enumerate(source.splitlines(), 1) if HERE.search(line)]
    truth = Truth(
        labels["phase"],
        frozenset(labels["operation"].split(",")),
        int(labels["step"]),
        labels["module"],
        frozenset(here),
        int(labels["sample"]) if "sample" in labels else None,
    )
    kind = labels.get("kind", "plain")
    return Program(path.stem, source, truth, labels["style"], kind, twin_note)


@dataclass
class Training:
    """A program that is prepared to train.

    Attributes:
        names: the global variables of the program, such as `model` and `losses`.
        loop: the code of the loop.
    """

    names: dict[str, Any]
    loop: CodeType

    def run(self) -> list[float]:
        """Train, and return the loss of each step."""
        exec(self.loop, self.names)
        return self.names["losses"]


def prepare(path: Path) -> Training:
    """Run a program up to its loop.

    Args:
        path: its file.

    Returns:
        The training, which has not begun.
    """
    body = ast.parse(path.read_text()).body
    (at,) = [i for i, node in enumerate(body) if isinstance(node, ast.For)]
    before, loop = (ast.Module(part, type_ignores=[]) for part in (body[:at], body[at:]))
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(before, str(path), "exec"), names)
    return Training(names, compile(loop, str(path), "exec"))


def write(program: Program, folder: Path) -> tuple[Path, Path]:
    """Write a program and its twin, without marks.

    Args:
        program: the program.
        folder: an existing folder.

    Returns:
        The files of the program and of its twin.
    """
    paths = folder / f"{program.name}.py", folder / "fixed" / f"{program.name}.py"
    paths[1].parent.mkdir(exist_ok=True)
    paths[0].write_text(program.broken())
    paths[1].write_text(program.fixed())
    return paths
