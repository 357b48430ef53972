"""Compare 144 jobs run fused and one by one: the largest relative difference of each column.

python benchmarks/equality.py [steps]

Depth 2, 6 x tanh, relu x 3 initialisations x clip none, norm, adaptive x 2 learning rates x
2 loss scales, recorded at every fifth step, in float64 and in float32.
"""

import subprocess
import sys
import tempfile

import numpy as np

from gradlab.results.load import find

MIXED = [
    "model.depth=2,6",
    "model.width=16",
    "model.activation=tanh,relu",
    "model.init=default,orthogonal,lsuv",
    "clip=none,norm,adaptive",
    "optim.lr=0.05,0.1",
    "loss.scale=1.0,0.5",
    "record.every=5",
    "tracking=none",
]

NOT_MEASURED = ["step", "axis", "position", "module", "seconds"]


def sweep(launcher, folder, *overrides):
    """Run the jobs with a launcher."""
    command = [sys.executable, "-m", "gradlab", "run", "-m", *MIXED, *overrides]
    command += [f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}"]
    subprocess.run(command, check=True, capture_output=True)


def differences(fused, alone, steps):
    """Return the largest relative difference over all runs, by column and recorded step."""
    found = {}
    pairs = zip(find(fused).runs, find(alone).runs, strict=True)
    for run, other in pairs:
        assert run.name == other.name
        for one, two in ((run.layers(), other.layers()), (run.steps(), other.steps())):
            for column in one.columns.drop(NOT_MEASURED, "ignore"):
                a, b = one[column].to_numpy(float), two[column].to_numpy(float)
                assert (np.isnan(a) == np.isnan(b)).all(), (run.name, column)
                with np.errstate(invalid="ignore", divide="ignore"):
                    difference = np.where(a == b, 0.0, np.abs(a - b) / np.abs(b))
                for step in steps:
                    at_step = difference[(one["step"] == step).to_numpy()]
                    worst = np.nanmax(at_step, initial=0.0)
                    found[column, step] = max(found.get((column, step), 0.0), worst)
    return found


def main(steps=50) -> None:
    """Print a row for each column of the files, with a column for each recorded step."""
    shown = sorted({0, 5, 10, 20, (steps - 1) // 5 * 5} & {*range(0, steps, 5)})
    for dtype in ("float64", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            for launcher in ("fused", "basic"):
                sweep(
                    launcher,
                    f"{folder}/{launcher}",
                    f"train.dtype={dtype}",
                    f"train.steps={steps}",
                )
            found = differences(f"{folder}/fused", f"{folder}/basic", shown)
        print(f"\n{dtype:18s}" + "".join(f"  step {step:<4d}" for step in shown))
        for column in dict.fromkeys(column for column, _ in found):
            row = "".join(f"{found[column, step]:11.1e}" for step in shown)
            print(f"{column:18s}{row}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
