"""The programs of the benchmark, and their labels.

Each file of `programs/` begins with its labels:

    # corpus: set=unseen mistake=transposed_backward named=wrong_backward also=learning_rate
    # why: the graph is directed: the gradient needs the transposed matrix
    # crashes: words of the error that torch raises

`mistake=none` marks a correct program. `named` is another accepted name of the mistake. `also`
lists consequences of the mistake, which are not false findings. `crashes` quotes torch's error.

In a broken program, lines that end in `# broken` are wrong. Comments that begin with `# fixed:`
replace them in the fixed version.

A program has `practice()`, which returns (step, model, optimizer, batches), or `main()`, which
trains. In a correct program, `step` returns a value that should decrease, and `main` returns a
list of such values.
"""

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent / "programs"
SETS = ("tuned", "unseen")
BROKEN = "  # broken"


@dataclass(frozen=True)
class Program:
    """One program with its labels.

    Attributes:
        path: its file.
        set: its set, `tuned` or `unseen`.
        mistake: the name of its mistake, `none` for a correct program.
        names: all accepted names of the mistake.
        also: findings that are consequences of the mistake.
        crashes: a part of its error message, empty if it raises no error.
    """

    path: Path
    set: str
    mistake: str
    names: frozenset[str]
    also: frozenset[str]
    crashes: str

    @property
    def is_correct(self) -> bool:
        """Whether the program has no mistake."""
        return self.mistake == "none"

    @property
    def line(self) -> int:
        """The number of the first wrong line, or of the line after a missing line."""
        lines = self.path.read_text().splitlines()
        wrong = [i for i, line in enumerate(lines, 1) if line.endswith(BROKEN)]
        missing = [i for i, line in enumerate(lines, 1) if line.lstrip().startswith("# fixed: ")]
        return wrong[0] if wrong else missing[-1] + 1

    def fixed(self) -> str:
        """Return the source of the fixed version."""
        text = re.sub(rf"^.*{BROKEN}\n", "", self.path.read_text(), flags=re.MULTILINE)
        return re.sub(r"^( *)# fixed: ", r"\1", text, flags=re.MULTILINE)


@cache
def programs() -> tuple[Program, ...]:
    """Return all programs in the order of their names."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.py")))


def _read(path: Path) -> Program:
    head = path.read_text().partition('"""')[0]
    lines = dict(re.findall(r"^# (\w+): (.*)$", head, flags=re.MULTILINE))
    labels = dict(pair.split("=") for pair in lines["corpus"].split())
    return Program(
        path,
        labels["set"],
        labels["mistake"],
        frozenset({labels["mistake"], labels.get("named", labels["mistake"])}),
        frozenset(filter(None, labels.get("also", "").split(","))),
        lines.get("crashes", ""),
    )


def load(path: Path) -> ModuleType:
    """Import a program from its file; each call imports it again."""
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def run(path: Path, steps: int) -> list[float]:
    """Run a program and return its values, [] if `main` returns none."""
    program = load(path)
    if hasattr(program, "main"):
        return program.main() or []
    step, model, optimizer, batches = program.practice()
    return [float(step(model, optimizer, batches[i % len(batches)])) for i in range(steps)]
