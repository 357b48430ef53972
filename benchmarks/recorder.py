"""Measure the cost of recording: the time of a recorded step relative to a step without.

python benchmarks/recorder.py [repetitions] [threads]

The networks are MLPs with batches of 64, alone and in a stack of 32. gradlab records every column
of the schema, at every step or every tenth. For comparison, other tools record at every step of a
plain loop on the same network:

- hand-written hooks: `.norm().item()` of each layer's activation and its gradient, and of the
  gradients of parameters;
- torch-module-monitor with its README's metrics: the mean of each module's output, the norms of
  parameters and gradients;
- torchmortem with all its collectors but the expensive ones (curvature, rank);
- `wandb.watch(log="all", log_freq=1)`: histograms of gradients and parameters, offline.

Packages that are not installed are left out. Times are processor times of this process: the median,
the minimum and the maximum of the repetitions. Each repetition times every tool, in a random order.
"""

import os
import platform
import random
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import pairwise

THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch  # noqa: E402
from torch import nn  # noqa: E402

from gradlab.config.compose import compose  # noqa: E402
from gradlab.data.dataset import load  # noqa: E402
from gradlab.training.loop import Loop  # noqa: E402

SHAPES = ((5, 64), (20, 64), (50, 64), (50, 256), (20, 1024))
STACK, STEPS = 32, 10
STACKED = 64  # the widest network to stack


class Ours:
    """gradlab's loop, which records at every `every` steps, or never."""

    def __init__(self, depth, width, members, every):
        overrides = [f"model.depth={depth}", f"model.width={width}", "model.init=kaiming_normal"]
        overrides += [
            "optim.lr=1e-4"
        ]  # no network may diverge, because NaN makes the recorder slower
        settings = [
            compose("config", [*overrides, f"seed={seed}", "tracking=none"])[0]
            for seed in range(members)
        ]
        self.loop = Loop(settings, load(settings[0]), [[] for _ in settings])
        self.every, self.done = every, 0

    def step(self):
        """Make one update."""
        recorded = self.every > 0 and self.done % self.every == 0
        self.loop.history.add(self.loop.step(self.done, recorded))
        if recorded or self.done % 10 == 0:
            self.loop.history.flush()
        self.done += 1


class Plain:
    """The same network in a plain loop, with another tool."""

    def __init__(self, depth, width, watch):
        settings, _ = compose("config", [f"model.depth={depth}", f"model.width={width}"])
        data = load(settings)
        self.x, self.y = data.x_train[:64].float(), data.y_train[:64]
        widths = [self.x.shape[1], *[width] * depth]
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.model = nn.Sequential(*hidden, nn.Linear(width, data.n_out))
        for module in self.model:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=1e-4)
        self.watcher = watch(self.model, self.optimiser)

    def step(self):
        """Make one update."""
        self.optimiser.zero_grad()
        self.watcher.begin()
        loss = nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.watcher.after_backward()
        self.optimiser.step()
        self.watcher.end(loss)


class Nothing:
    """Records nothing; the base class of the tools."""

    def __init__(self, model, optimiser):
        self.model = model

    def begin(self):
        """Before the forward pass."""

    def after_backward(self):
        """Before the update."""

    def end(self, loss):
        """After the update."""


class Naive(Nothing):
    """Hand-written hooks on every module that call `.norm().item()`."""

    def __init__(self, model, optimiser):
        super().__init__(model, optimiser)
        self.norms = {}
        for name, module in model.named_modules():
            if name:
                module.register_forward_hook(self.on_output(name))

    def on_output(self, name):
        """Return a hook that measures an output, and later its gradient."""

        def on_grad(grad):
            self.norms[f"{name} grad"] = grad.norm().item()

        def hook(module, inputs, output):
            self.norms[name] = output.norm().item()
            output.register_hook(on_grad)

        return hook

    def after_backward(self):
        """Measure every parameter's gradient."""
        for name, parameter in self.model.named_parameters():
            self.norms[f"{name} grad"] = parameter.grad.norm().item()


class ModuleMonitor(Nothing):
    """torch-module-monitor, with the metrics of its README."""

    def __init__(self, model, optimiser):
        from torch_module_monitor import ModuleMonitor as Monitor

        self.monitor, self.steps = Monitor(monitor_step_fn=lambda step: True), 0
        self.monitor.set_module(model)
        self.monitor.add_activation_metric("mean", lambda x: x.mean())
        self.monitor.add_parameter_metric("norm", lambda x: x.norm())
        self.monitor.add_gradient_metric("norm", lambda x: x.norm())

    def begin(self):
        """Begin a step."""
        self.monitor.begin_step(self.steps)

    def after_backward(self):
        """Measure parameters and gradients."""
        self.monitor.monitor_parameters()
        self.monitor.monitor_gradients()

    def end(self, loss):
        """Read the measurements."""
        self.monitor.end_step()
        self.monitor.get_step_metrics()
        self.steps += 1


class Torchmortem(Nothing):
    """torchmortem, without its expensive collectors."""

    def __init__(self, model, optimiser):
        from torchmortem import Autopsy, SamplingConfig

        sampling = SamplingConfig(default_interval=1, expensive_interval=10**9)
        self.autopsy = Autopsy(model, optimizer=optimiser, sampling=sampling)
        self.autopsy.__enter__()

    def end(self, loss):
        """Record the step."""
        self.autopsy.step(loss=loss.item())


class Wandb(Nothing):
    """`wandb.watch`, offline, which logs at every step."""

    def __init__(self, model, optimiser):
        import wandb

        quiet = wandb.Settings(silent=True)
        self.run = wandb.init(mode="offline", dir=tempfile.mkdtemp(), settings=quiet)
        self.run.watch(model, log="all", log_freq=1)

    def after_backward(self):
        """Log a row, which includes the histograms of `wandb.watch`."""
        self.run.log({"step": 1})


RIVALS = {
    "usual loop": Nothing,
    "hooks with .norm().item()": Naive,
    "torch-module-monitor": ModuleMonitor,
    "torchmortem": Torchmortem,
    "wandb.watch(log='all')": Wandb,
}
NEEDED = {"torch-module-monitor": "torch_module_monitor", "torchmortem": "torchmortem"}


def contest(contestants, repetitions):
    """Return the seconds per step of each contestant, a number for each repetition."""
    found = {name: [] for name in contestants}
    for each in contestants.values():
        for _ in range(3):
            each.step()
    for _ in range(repetitions):
        for name in random.sample(sorted(contestants), len(contestants)):
            began = time.process_time()
            for _ in range(STEPS):
                contestants[name].step()
            found[name].append((time.process_time() - began) / STEPS)
    return found


def print_times(title, times, base):
    """Print a line for each contestant: its time, and its cost relative to the base."""
    bare = times[base]
    print(f"\n{title}")
    for name, seconds in times.items():
        ratios = [tool_time / base_time for tool_time, base_time in zip(seconds, bare, strict=True)]
        low, high = min(ratios), max(ratios)
        print(
            f"  {name:34s} {statistics.median(seconds) * 1e3:8.2f} ms   "
            f"{statistics.median(ratios) - 1:+7.1%} ({low - 1:+.0%} to {high - 1:+.0%})"
        )


def ours(depth, width, members):
    """Return gradlab's loop without records, and with records at every step and every tenth."""
    named = {"bare": 0, "everything, every step": 1, "everything, every 10th": 10}
    return {name: Ours(depth, width, members, every) for name, every in named.items()}


def rivals(depth, width):
    """Return the plain loop, alone and with each tool that is installed."""
    return {
        name: Plain(depth, width, watch)
        for name, watch in RIVALS.items()
        if name not in NEEDED or find_spec(NEEDED[name])
    }


def main(repetitions=7, threads=1) -> None:
    """Print the tables."""
    torch.set_num_threads(threads)
    print(f"{platform.machine()}, {threads} threads, torch {torch.__version__}")
    for depth, width in SHAPES:
        shape = f"{depth} x {width}"
        print_times(f"{shape}, alone", contest(ours(depth, width, 1), repetitions), "bare")
        print_times(
            "  others, in the usual loop", contest(rivals(depth, width), repetitions), "usual loop"
        )
        if width <= STACKED:
            found = contest(ours(depth, width, STACK), max(3, repetitions // 2))
            print_times(f"{shape}, a stack of {STACK}", found, "bare")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
