"""Measure the time of a study of 480 networks: fused, one by one, joblib, and the usual recipe.

python benchmarks/study.py             # about ten minutes on two cores
python benchmarks/study.py 5 5         # the other ways also train all networks

The study: depth 5, 10, 20, 50 x sigmoid, relu, gelu x 4 initialisations x clip none, norm x 5
seeds; width 64, batches of 64, 100 steps, every tenth step recorded, W&B offline. Each sweep is a
new process, which may use all cores.

The time of fused is the whole time of its process. The other ways train only the first seed, 96
networks, and the time of a sweep of one network and one step is subtracted. Fused and one by one
are also timed without W&B, because a stack does not make W&B faster. joblib runs a process with one
thread on each core, if its launcher is installed: pip install hydra-joblib-launcher. The usual
recipe (benchmarks/recipe.py: a Hydra script with `wandb.watch(log="all", log_freq=10)`) trains the
48 networks without clipping.
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
    """Run a command; return its wall time and its processor time on all cores, in seconds."""
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


def print_cost(name, jobs, wall, used):
    """Print the time of a sweep; return its wall time per job."""
    print(f"{name:34s} {jobs:5d} {wall:9.1f} {wall / jobs * 1e3:9.0f} {used / jobs * 1e3:9.0f}")
    sys.stdout.flush()
    return wall / jobs


def compare(fused, alone):
    """Print how much the results of two sweeps differ."""
    others = {run.info["config_hash"]: run for run in find(alone).runs}
    pairs = [(run, others.get(run.info["config_hash"])) for run in find(fused).runs]
    pairs = [pair for pair in pairs if pair[1] is not None]
    assert len(pairs) == len(others)
    same = sum(run.info["verdict"] == other.info["verdict"] for run, other in pairs)
    first, last = [], []
    for run, other in pairs:
        one, two = run.layers(["step", "delta_norm"]), other.layers(["step", "delta_norm"])
        for step, found in ((0, first), (one["step"].max(), last)):
            a = one.loc[one["step"] == step, "delta_norm"].to_numpy()
            b = two.loc[two["step"] == step, "delta_norm"].to_numpy()
            if len(a) == len(b):
                found.append(np.max(np.abs(a / b - 1)))
    print(f"\nfused and basic: {same} of {len(pairs)} verdicts the same")
    for when, found in (("at initialisation", first), ("at the last record", last)):
        print(
            f"error signal {when}: relative difference of the worst layer, "
            f"median of the networks {np.nanmedian(found):.1e}, worst {np.nanmax(found):.1e}"
        )


def time_without_start(run, overrides, folder):
    """Return the time of a sweep minus the time of a sweep of one network and one step."""
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
        ours = print_cost("hydra/launcher=fused", PER_SEED * seeds, *spent)
        for name, threads in (("basic, all threads", None), ("basic, one thread", 1)):
            run = partial(gradlab, "basic", threads=threads)
            each[name] = print_cost(
                name, jobs, *time_without_start(run, some, f"{folder}/basic{threads}")
            )
        compare(f"{folder}/f", f"{folder}/basicNone")
        print()
        bare_study, bare_some = (
            [*UNTRACKED, f"seed=range(0,{number})"] for number in (seeds, of_others)
        )
        spent = gradlab("fused", bare_study, f"{folder}/f-untracked")
        bare = print_cost("fused, without W&B", PER_SEED * seeds, *spent)
        run = partial(gradlab, "basic", threads=1)
        spent = time_without_start(run, bare_some, f"{folder}/basic-untracked")
        basic = print_cost("basic, one thread, without W&B", jobs, *spent)
        print(f"without W&B fused is {basic / bare:.1f} times as fast as basic\n")
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
            run = partial(gradlab, "joblib", threads=1)
            by = [*some, f"hydra.launcher.n_jobs={CORES}"]
            name = f"joblib, {CORES} processes"
            each[name] = print_cost(name, jobs, *time_without_start(run, by, f"{folder}/j"))
        name = "the usual recipe"
        each[name] = print_cost(name, 48, *time_without_start(recipe, RECIPE, f"{folder}/r"))
    print()
    for name, seconds in each.items():
        print(f"fused is {seconds / ours:.1f} times as fast as {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
