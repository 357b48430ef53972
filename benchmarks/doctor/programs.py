"""The programs, and how one is loaded and run by itself.

A program has `practice()`, which returns (step, model, optimizer, batches), or `main()`, which
trains when it is called. In `correct/`, step returns, and main a list of, what should fall.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
BROKEN = sorted((HERE / "broken").glob("*.py"))
CORRECT = sorted((HERE / "correct").glob("*.py"))


def load(path: Path) -> ModuleType:
    """Import a program from its file, anew."""
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def run(path: Path, steps: int) -> list[float]:
    """Run a program and return what its steps, or its main, returned: [] if that is nothing."""
    program = load(path)
    if hasattr(program, "main"):
        return program.main() or []
    step, model, optimizer, batches = program.practice()
    return [float(step(model, optimizer, batches[i % len(batches)])) for i in range(steps)]
