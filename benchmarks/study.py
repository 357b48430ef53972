"""A study of 480 networks, start to end: fused, one by one, by joblib, and by the usual recipe.

python benchmarks/study.py             # all of it, about a quarter of an hour on two cores
python benchmarks/study.py 1           # one seed of five: 96 networks

Depth 5, 10, 20, 50 x sigmoid, relu, gelu x 4 initialisations x clip none, norm x seeds; width 64,
batches of 64, 100 steps, every column recorded at every tenth, W&B offline. Each sweep is a process
of its own, timed from its start to its end, and may use every core. joblib (if its launcher is
installed: pip install hydra-joblib-launcher) has a process a core, each with one thread. The usual
recipe (benchmarks/recipe.py: a Hydra script with `wandb.watch(log="all", log_freq=10)`) trains a
subset, seed 0 without clipping: 48 networks, and what it needs to start is not counted.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from gradlab.store.load import find

HERE = Path(__file__).parent
INITS = "default,xavier_normal,kaiming_normal,orthogonal"
COMMON = [
    "model.depth=5,10,20,50",
    "model.activation=sigmoid,relu,gelu",
    f"model.init={INITS}",
    "clip=none,norm",
    "train.steps=100",
    "record.every=10",
    "tracking=offline",
]
PER_SEED = 4 * 3 * 4 * 2
RECIPE = ["depth=5,10,20,50", "activation=sigmoid,relu,gelu", f"init={INITS}"]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def timed(command, threads=None):
    """Run a command; return seconds on the wall and of all processors together."""
    environment = {**os.environ, "WANDB_SILENT": "true"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    used = [getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime")]
    return wall, sum(used)


def gradlab(launcher, overrides, folder, threads=None):
    """Run a sweep of gradlab."""
    command = [sys.executable, "-m", "gradlab", "run", "-m", *overrides]
    return timed([*command, f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}"], threads)


def recipe(overrides, folder):
    """Run a sweep of the usual recipe."""
    script = str(HERE / "recipe.py")
    return timed([sys.executable, script, "-m", *overrides, f"hydra.sweep.dir={folder}"])


def told(name, jobs, wall, used):
    """Print what a job cost."""
    print(f"{name:34s} {jobs:5d} {wall:9.1f} {wall / jobs * 1e3:9.0f} {used / jobs * 1e3:9.0f}")
    sys.stdout.flush()
    return wall / jobs


def compared(fused, alone):
    """Print how far the results of two sweeps differ."""
    runs, others = ({run.name: run for run in find(each).runs} for each in (fused, alone))
    assert runs.keys() == others.keys()
    same = sum(runs[name].info["verdict"] == others[name].info["verdict"] for name in runs)
    first, last = [], []
    for name, run in runs.items():
        mine, its = run.layers(["step", "delta_norm"]), others[name].layers(["step", "delta_norm"])
        for step, found in ((0, first), (mine["step"].max(), last)):
            a = mine.loc[mine["step"] == step, "delta_norm"].to_numpy()
            b = its.loc[its["step"] == step, "delta_norm"].to_numpy()
            if len(a) == len(b):
                found.append(np.max(np.abs(a / b - 1)))
    print(f"\nfused and basic: {same} of {len(runs)} verdicts the same")
    for when, found in (("at initialisation", first), ("at the last record", last)):
        print(
            f"error signal {when}: relative difference of the worst layer, "
            f"median of the networks {np.nanmedian(found):.1e}, worst {np.nanmax(found):.1e}"
        )


def main(seeds=5) -> None:
    """Print the table."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "hydra-core", "wandb"))
    print(f"{platform.machine()}, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, {packages}\n")
    print(f"{'':34s}  jobs    wall s    ms/job CPU ms/job")
    study = [*COMMON, "seed=" + ",".join(map(str, range(seeds)))]
    jobs = PER_SEED * seeds
    with tempfile.TemporaryDirectory() as folder:
        ours = told("hydra/launcher=fused", jobs, *gradlab("fused", study, f"{folder}/fused"))
        each = {
            "basic": told("hydra/launcher=basic", jobs, *gradlab("basic", study, f"{folder}/b"))
        }
        compared(f"{folder}/fused", f"{folder}/b")
        print()
        one = gradlab("basic", study, f"{folder}/b1", threads=1)
        each["basic, one thread"] = told("basic, one thread", jobs, *one)
        shutil.rmtree(f"{folder}/b1")
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
            by = [*study, f"hydra.launcher.n_jobs={CORES}"]
            spread = gradlab("joblib", by, f"{folder}/j", threads=1)
            each["joblib"] = told(f"joblib, {CORES} processes", jobs, *spread)
        start = recipe(["steps=1"], f"{folder}/r1")
        whole = recipe(RECIPE, f"{folder}/r")
        least = [w - s for w, s in zip(whole, start, strict=True)]
        each["the usual recipe"] = told("the usual recipe, start-up apart", 48, *least)
    print()
    for name, seconds in each.items():
        print(f"fused is {seconds / ours:.1f} times as fast as {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
