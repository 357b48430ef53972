"""Measures the start of `gradlab doctor`, and compares it with another version.

    python benchmarks/faults/start.py OTHER [repetitions]

OTHER is the folder of another checkout, for example of the last version without a sandbox; its
command runs with the packages of this environment. Both commands examine the same programs in
turns: a mistake needs one run of the program, a correct training several. The times are elapsed
times: the median, and the smallest.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import torch
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(100):
    x = torch.randn(16, 4)
    {clear}
    torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
    optimizer.step()
"""
PROGRAMS = {"a mistake": "", "correct": "optimizer.zero_grad()"}


def measure(source: Path, program: Path) -> float:
    """Return the seconds in which the command of a checkout examines a program."""
    env = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "gradlab", "doctor", program.name]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=program.parent, env=env, capture_output=True, check=False)
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode())
    return time.perf_counter() - began


def main() -> None:
    """Print one row for each program."""
    other, repetitions = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    here = Path(__file__).resolve().parents[2]
    print("| program | s | s, other version | ratio of medians | ratio of the smallest |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, clear in PROGRAMS.items():
            program = Path(folder) / f"{name.replace(' ', '_')}.py"
            program.write_text(PROGRAM.format(clear=clear))
            times: dict[Path, list[float]] = {here: [], other: []}
            for _ in range(repetitions):
                for source, values in times.items():
                    values.append(measure(source, program))
            a, b = map(statistics.median, times.values())
            least = min(times[here]) / min(times[other])
            print(f"| {name} | {a:.2f} | {b:.2f} | {a / b:.2f} | {least:.2f} |")


if __name__ == "__main__":
    main()
