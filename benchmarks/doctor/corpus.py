"""The programs that measure the doctor, and their labels.

Each file of `programs/` begins with its labels:

    # corpus: set=unseen mistake=transposed_backward named=wrong_backward also=learning_rate
    # why: the graph is directed: the gradient needs the transposed matrix
    # crashes: words of the error that torch raises

`mistake=none` marks a correct program. `named` is another name of the same mistake. `also` lists
consequences of it, which are not false alarms. In a broken program, the lines that end in
`# broken` are wrong, and the comments that begin with `# fixed:` replace them in its fixed twin.

A program has `practice()`, which returns (step, model, optimizer, batches), or `main()`, which
trains. In a correct program, step returns, and main returns a list of, values that should decrease.
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
        set: `tuned` or `unseen`, by the set it was written for.
        mistake: the name of its one mistake, `none` for a correct program.
        names: all names of that mistake.
        also: findings that are consequences of the mistake.
        crashes: words of the error that it raises, empty if it raises none.
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
        """The number of the first wrong line, or of the line before which one is missing."""
        lines = self.path.read_text().splitlines()
        wrong = [i for i, line in enumerate(lines, 1) if line.endswith(BROKEN)]
        missing = [i for i, line in enumerate(lines, 1) if line.lstrip().startswith("# fixed: ")]
        return wrong[0] if wrong else missing[-1] + 1

    def fixed(self) -> str:
        """Return the text of the fixed twin."""
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
    """Import a program from its file, anew."""
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def run(path: Path, steps: int) -> list[float]:
    """Run a program and return the results of its steps or of its main, [] if it returns none."""
    program = load(path)
    if hasattr(program, "main"):
        return program.main() or []
    step, model, optimizer, batches = program.practice()
    return [float(step(model, optimizer, batches[i % len(batches)])) for i in range(steps)]
