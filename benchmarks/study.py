"""A study of 480 networks, start to end: fused, one by one, by joblib, and by the usual recipe.

python benchmarks/study.py             # about ten minutes on two cores
python benchmarks/study.py 5 5         # the others, too, train all of it

Depth 5, 10, 20, 50 x sigmoid, relu, gelu x 4 initialisations x clip none, norm x 5 seeds; width 64,
batches of 64, 100 steps, every column recorded at every tenth, W&B offline. Each sweep is a process
of its own, and may use every core. Fused is timed from its start to its end. The others train the
first seed alone, 96 networks, and what they need to start (a sweep of one network of one step) is
taken off. Both are also timed without W&B, of which a stack makes nothing cheaper. joblib (if its
launcher is installed: pip install hydra-joblib-launcher) has a process a core, each with one
thread. The usual recipe (benchmarks/recipe.py: a Hydra script with
`wandb.watch(log="all", log_freq=10)`) trains 48 of them, those without clipping.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from gradlab.results.load import find

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
UNTRACKED = [*COMMON[:-1], "tracking=none"]
PER_SEED = 4 * 3 * 4 * 2
SHORT = ["train.steps=1"]
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
    overrides = [each.removeprefix("train.") for each in overrides]
    return timed([sys.executable, script, "-m", *overrides, f"hydra.sweep.dir={folder}"])


def told(name, jobs, wall, used):
    """Print what a job cost."""
    print(f"{name:34s} {jobs:5d} {wall:9.1f} {wall / jobs * 1e3:9.0f} {used / jobs * 1e3:9.0f}")
    sys.stdout.flush()
    return wall / jobs


def compared(fused, alone):
    """Print how far the results of two sweeps differ."""
    others = {run.info["config_hash"]: run for run in find(alone).runs}
    pairs = [(run, others.get(run.info["config_hash"])) for run in find(fused).runs]
    pairs = [pair for pair in pairs if pair[1] is not None]
    assert len(pairs) == len(others)
    same = sum(run.info["verdict"] == other.info["verdict"] for run, other in pairs)
    first, last = [], []
    for run, other in pairs:
        mine, its = run.layers(["step", "delta_norm"]), other.layers(["step", "delta_norm"])
        for step, found in ((0, first), (mine["step"].max(), last)):
            a = mine.loc[mine["step"] == step, "delta_norm"].to_numpy()
            b = its.loc[its["step"] == step, "delta_norm"].to_numpy()
            if len(a) == len(b):
                found.append(np.max(np.abs(a / b - 1)))
    print(f"\nfused and basic: {same} of {len(pairs)} verdicts the same")
    for when, found in (("at initialisation", first), ("at the last record", last)):
        print(
            f"error signal {when}: relative difference of the worst layer, "
            f"median of the networks {np.nanmedian(found):.1e}, worst {np.nanmax(found):.1e}"
        )


def apart(run, overrides, folder):
    """Return what a sweep costs beyond that of one network of one step."""
    start, whole = run(SHORT, f"{folder}-start"), run(overrides, folder)
    return [w - s for w, s in zip(whole, start, strict=True)]


def main(seeds=5, of_others=1) -> None:
    """Print the table."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "hydra-core", "wandb"))
    print(f"{platform.machine()}, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, {packages}\n")
    print(f"{'':34s}  jobs    wall s    ms/job CPU ms/job")
    study, some = ([*COMMON, f"seed=range(0,{number})"] for number in (seeds, of_others))
    jobs, each = PER_SEED * of_others, {}
    with tempfile.TemporaryDirectory() as folder:
        spent = gradlab("fused", study, f"{folder}/f")
        ours = told("hydra/launcher=fused", PER_SEED * seeds, *spent)
        for name, threads in (("basic, all threads", None), ("basic, one thread", 1)):
            run = partial(gradlab, "basic", threads=threads)
            each[name] = told(name, jobs, *apart(run, some, f"{folder}/basic{threads}"))
        compared(f"{folder}/f", f"{folder}/basicNone")
        print()
        bare_study, bare_some = (
            [*UNTRACKED, f"seed=range(0,{number})"] for number in (seeds, of_others)
        )
        spent = gradlab("fused", bare_study, f"{folder}/f-untracked")
        bare = told("fused, without W&B", PER_SEED * seeds, *spent)
        run = partial(gradlab, "basic", threads=1)
        spent = apart(run, bare_some, f"{folder}/basic-untracked")
        basic = told("basic, one thread, without W&B", jobs, *spent)
        print(f"without W&B fused is {basic / bare:.1f} times as fast as basic\n")
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
            run = partial(gradlab, "joblib", threads=1)
            by = [*some, f"hydra.launcher.n_jobs={CORES}"]
            name = f"joblib, {CORES} processes"
            each[name] = told(name, jobs, *apart(run, by, f"{folder}/j"))
        name = "the usual recipe"
        each[name] = told(name, 48, *apart(recipe, RECIPE, f"{folder}/r"))
    print()
    for name, seconds in each.items():
        print(f"fused is {seconds / ours:.1f} times as fast as {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
