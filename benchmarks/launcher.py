"""What a job costs in a sweep: hydra/launcher=fused beside hydra/launcher=basic.

python benchmarks/launcher.py [repetitions]    # a study of 96 networks, W&B none and offline
python benchmarks/launcher.py stack            # a step, by the number of networks in a stack

The study: depth 5, 10, 20 x sigmoid, relu x 4 initialisations x clip none, norm x 2 seeds, of 100
steps. Each sweep is a process of its own; what it needs to start (a sweep of one job) is taken off
before it is divided by the jobs. Launchers take turns, so that other work strikes both.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import torch

from gradlab import choices
from gradlab.settings import from_config
from gradlab.train.loop import Loop

STUDY = [
    "model.depth=5,10,20",
    "model.activation=sigmoid,relu",
    "model.init=default,xavier_normal,kaiming_normal,orthogonal",
    "clip=none,norm",
    "seed=0,1",
    "train.steps=100",
]
JOBS = 96
SHAPES = ((5, 16), (5, 64), (20, 64), (5, 128), (5, 256))
SIZES = (1, 2, 4, 8, 16, 32, 64)


def sweep(launcher, tracking, overrides, threads):
    """Run a sweep; return its wall time and its processor time, in seconds."""
    environment = {**os.environ, **({"OMP_NUM_THREADS": threads} if threads else {})}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gradlab", "run", "-m", *overrides, f"tracking={tracking}"]
        command += [f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}/s"]
        before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
        wall, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    used = [getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime")]
    return wall, sum(used)


def study(repetitions):
    """Print milliseconds per job, the median of the repetitions."""
    print("threads  W&B      launcher   wall ms/job   CPU ms/job   start s")
    for threads in ("1", ""):
        for tracking in ("none", "offline"):
            found = {"basic": [], "fused": []}
            for _ in range(repetitions):
                for launcher, rows in found.items():
                    start = sweep(launcher, tracking, ["train.steps=1"], threads)
                    whole = sweep(launcher, tracking, STUDY, threads)
                    per_job = [(w - s) / JOBS * 1e3 for w, s in zip(whole, start, strict=True)]
                    rows.append((*per_job, start[0]))
            medians = {
                name: [statistics.median(column) for column in zip(*rows, strict=True)]
                for name, rows in found.items()
            }
            for name, (wall, cpu, start) in medians.items():
                print(
                    f"{threads or 'all':8} {tracking:8} {name:9} "
                    f"{wall:12.0f} {cpu:12.0f} {start:9.1f}",
                    flush=True,
                )
            gain = [b / f for b, f in zip(medians["basic"], medians["fused"], strict=True)]
            print(f"{'':18}gain {gain[0]:17.1f} {gain[1]:12.1f}", flush=True)


def loop(depth, width, members):
    """Return a loop of networks that differ by seed."""
    config = choices.base()
    names = {"data": "digits", "loss": "cross_entropy", "optim": "sgd", "model": "mlp"}
    others = {"clip": "none", "tracking": "none", "diagnose": "default"}
    for group, name in {**names, **others}.items():
        config[group] = choices.load(group, name)
    config["model"] = {**config["model"], "depth": depth, "width": width}
    settings = [from_config({**config, "seed": seed}) for seed in range(members)]
    return Loop(settings, settings[0].data.call(), [[] for _ in settings])


def stacks():
    """Print processor time per member and step, of ten steps the first of which is recorded."""
    torch.set_num_threads(1)
    print("depth  width  parameters " + " ".join(f"M={size:<4}" for size in SIZES))
    for depth, width in SHAPES:
        times = []
        for size in SIZES:
            trained = loop(depth, width, size)
            trained.step(0, True)
            best = float("inf")
            for repetition in range(5 if size < 32 else 2):
                began = time.process_time()
                for step in range(10):
                    trained.step(10 * repetition + step + 10, step == 0)
                best = min(best, time.process_time() - began)
            times.append(best / 10 / size * 1e3)
        parameters = trained.stack.memory.numel() // size
        row = " ".join(f"{t:6.2f}" for t in times)
        print(f"{depth:5}  {width:5}  {parameters:10,} {row}", flush=True)


def main(what="3") -> None:
    """Print the machine, and a table."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = [line for line in lines if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "hydra-core", "wandb"))
    told = model[0].split(":")[1].strip() if model else platform.processor()
    print(f"{told}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, {packages}\n")
    stacks() if what == "stack" else study(int(what))


if __name__ == "__main__":
    main(*sys.argv[1:])
