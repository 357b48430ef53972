"""What recording costs: a training step with everything recorded, over the bare step.

python benchmarks/recorder.py [repetitions] [threads]

For MLPs of depth x width, alone and as a stack of 32, batch 64: gradlab's record of every step
(every column of the schema, transferred), and of every tenth; beside it, on the same network in the
usual loop, `wandb.watch(log="all", log_freq=1)` (histograms of gradients and parameters, offline),
and the hooks that people write, `.norm().item()` of each layer's activation, its gradient, and the
parameters' gradients. Medians of the repetitions; each times some steps of every contestant in
turn, in a fresh order.
"""

import os
import platform
import random
import statistics
import sys
import tempfile
import time
from itertools import pairwise

THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch  # noqa: E402
from torch import nn  # noqa: E402

from gradlab.compose import compose  # noqa: E402
from gradlab.data.dataset import load  # noqa: E402
from gradlab.train.loop import Loop  # noqa: E402

SHAPES = ((10, 64), (50, 64), (50, 256), (20, 1024))
STACK, STEPS = 32, 10
STACKED = 64  # the widest network that is worth a stack


class Ours:
    """gradlab's own loop, recording every so many steps, or never."""

    def __init__(self, depth, width, members, every):
        overrides = [f"model.depth={depth}", f"model.width={width}", "model.init=kaiming_normal"]
        overrides += ["optim.lr=1e-4"]  # that none diverges: of NaNs every norm is taken twice
        settings = [
            compose("config", [*overrides, f"seed={seed}", "tracking=none"])[0]
            for seed in range(members)
        ]
        self.loop = Loop(settings, load(settings[0]), [[] for _ in settings])
        self.every, self.done = every, 0

    def step(self):
        """Make one update."""
        recorded = self.every > 0 and self.done % self.every == 0
        self.loop.history.append(self.loop.step(self.done, recorded))
        if recorded or self.done % 10 == 0:
            self.loop.flush()
        self.done += 1


class Plain:
    """The same network in the usual loop, and what a rival hangs on it."""

    def __init__(self, depth, width, watch):
        settings, _ = compose("config", [f"model.depth={depth}", f"model.width={width}"])
        data = load(settings)
        self.x, self.y = data.x_train[:64].float(), data.y_train[:64]
        widths = [self.x.shape[1], *[width] * depth]
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.model = nn.Sequential(*hidden, nn.Linear(width, data.n_out))
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.after = watch(self.model)

    def step(self):
        """Make one update."""
        self.optimiser.zero_grad()
        nn.functional.cross_entropy(self.model(self.x), self.y).backward()
        self.after()
        self.optimiser.step()


def naive(model):
    """Hang hooks on every module that call `.norm().item()`, as people do."""
    told = {}

    def on_output(name):
        def hook(module, inputs, output):
            told[name] = output.norm().item()
            output.register_hook(lambda grad: told.__setitem__(f"{name} grad", grad.norm().item()))

        return hook

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(on_output(name))

    def after():
        for name, parameter in model.named_parameters():
            told[f"{name} grad"] = parameter.grad.norm().item()

    return after


def wandb_watch(model):
    """Let W&B watch the model, offline, and log at every step."""
    import wandb

    run = wandb.init(mode="offline", dir=tempfile.mkdtemp(), settings=wandb.Settings(silent=True))
    run.watch(model, log="all", log_freq=1)
    return lambda: run.log({"step": 1})


def contest(contestants, repetitions):
    """Return seconds a step by contestant: a list of one number a repetition."""
    found = {name: [] for name in contestants}
    for each in contestants.values():
        for _ in range(3):
            each.step()
    for _ in range(repetitions):
        for name in random.sample(sorted(contestants), len(contestants)):
            began = time.perf_counter()
            for _ in range(STEPS):
                contestants[name].step()
            found[name].append((time.perf_counter() - began) / STEPS)
    return found


def told(title, times, base):
    """Print a line per contestant: time, spread, and what it adds to the bare step."""
    bare = times[base]
    print(f"\n{title}")
    for name, seconds in times.items():
        ratios = [mine / other for mine, other in zip(seconds, bare, strict=True)]
        low, high = min(ratios), max(ratios)
        print(
            f"  {name:34s} {statistics.median(seconds) * 1e3:8.2f} ms   "
            f"{statistics.median(ratios) - 1:+7.1%} ({low - 1:+.0%} to {high - 1:+.0%})"
        )


def ours(depth, width, members):
    """Return gradlab's loop without records, with one a step, with one every ten."""
    named = {"bare": 0, "everything, every step": 1, "everything, every 10th": 10}
    return {name: Ours(depth, width, members, every) for name, every in named.items()}


def rivals(depth, width):
    """Return the usual loop, bare and watched."""
    named = {"usual loop": lambda model: lambda: None, "hooks with .norm().item()": naive}
    named["wandb.watch(log='all')"] = wandb_watch
    return {name: Plain(depth, width, watch) for name, watch in named.items()}


def main(repetitions=7, threads=1) -> None:
    """Print the tables."""
    torch.set_num_threads(threads)
    print(f"{platform.machine()}, {threads} threads, torch {torch.__version__}")
    for depth, width in SHAPES:
        shape = f"{depth} x {width}"
        told(f"{shape}, alone", contest(ours(depth, width, 1), repetitions), "bare")
        told(
            "  others, in the usual loop", contest(rivals(depth, width), repetitions), "usual loop"
        )
        if width <= STACKED:
            found = contest(ours(depth, width, STACK), max(3, repetitions // 2))
            told(f"{shape}, a stack of {STACK}", found, "bare")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
