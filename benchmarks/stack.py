"""Measure the time of a step per network, in stacks of several sizes.

python benchmarks/stack.py

Times are processor times in ms per member, averaged over ten steps; the first step is recorded. One
thread. `gradlab.training.plan` uses the results to choose the size of stacks.
"""

import time

import torch

from gradlab.config import choices
from gradlab.config.settings import from_config
from gradlab.training.loop import Loop

SHAPES = ((5, 16), (5, 64), (20, 64), (50, 64), (5, 128), (5, 256))
SIZES = (1, 4, 8, 16, 23, 40, 64)


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


def main() -> None:
    """Print the processor time per member and step."""
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
        parameters = trained.stack.parameters.memory.numel() // size
        row = " ".join(f"{t:6.2f}" for t in times)
        print(f"{depth:5}  {width:5}  {parameters:10,} {row}", flush=True)


if __name__ == "__main__":
    main()
