"""Measure time and peak memory of a report of 10 to 1,000 runs with 10,000 layer rows each.

python benchmarks/report.py [runs ...]

Each run is a copy of one real run (50 layers, 200 records) with other settings and another seed.
Each report runs in a new process.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import pandas as pd

ROWS = 200 * 50
SETTINGS = [*product((5, 10, 20, 50), ("sigmoid", "relu", "gelu"), ("default", "normal"))]


def original(folder):
    """Train the run to copy, a network with 50 linear maps."""
    command = ["run", "model.depth=49", "train.steps=200", "record.every=1", "tracking=none"]
    gradlab(*command, "model.activation=sigmoid", f"hydra.run.dir={folder}")
    assert len(pd.read_parquet(folder / "layers.parquet")) == ROWS


def copies(source, root, runs):
    """Write `runs` copies under `root`, in the folders of a sweep."""
    info = json.loads((source / "run.json").read_text())
    for number in range(runs):
        folder = root / str(number)
        folder.mkdir(parents=True)
        for part in ("layers", "steps"):
            shutil.copy(source / f"{part}.parquet", folder)
        depth, activation, init = SETTINGS[number % len(SETTINGS)]
        swept = {"model.depth": depth, "model.activation": activation, "model.init": init}
        seed = number // len(SETTINGS)
        config = {**info["config"], **swept, "seed": seed}
        (folder / "run.json").write_text(json.dumps({**info, "config": config, "seed": seed}))


def gradlab(*arguments):
    """Run a command in a new process; return its seconds and its peak memory in GB."""
    began = time.perf_counter()
    done = subprocess.Popen(
        [sys.executable, "-m", "gradlab", *map(str, arguments)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(done.pid, 0)
    assert status == 0, arguments
    return time.perf_counter() - began, usage.ru_maxrss / 2**20


def main(*counts) -> None:
    """Print a line for each number of runs."""
    print(f"{platform.machine()}, pandas {pd.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        original(source)
        for runs in counts or (10, 100, 1000):
            root = Path(temporary) / f"runs_{runs}"
            copies(source, root, runs)
            seconds, memory = gradlab("report", root)
            rows = runs * ROWS / 1e6
            print(f"{runs:5d} runs, {rows:5.1f} million rows: {seconds:6.1f} s, {memory:.2f} GB")
            shutil.rmtree(root)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
