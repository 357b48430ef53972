"""Measure the parts of a stacked training step, and compare its speed with matrix products.

python benchmarks/limit.py [members] [repetitions]

The networks are MLPs of width 64, with batches of 64, in float32 on one thread. The first table has
floating-point operations per second: of one large product, of the network's matrix products alone
(`torch.bmm` of the same shapes, in the cache and with all tensors), and of the training step. The
second table has the time of each part of a step, and the additional time of recording.

All times are processor times: the median, and the quartiles. Each repetition times every part once,
so that other work on the machine affects all parts equally.
"""

import os
import platform
import statistics
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from gradlab.config.compose import compose
from gradlab.data.dataset import load
from gradlab.recording.norms import joint_norm
from gradlab.recording.recorder import measure
from gradlab.training.loop import Loop

DEPTHS, WIDTH, BATCH = (5, 10, 20, 50), 64, 64
LARGE = 2048


class Clock:
    """Stores processor times by name, a number for each repetition."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def time(self, name, call, times=1):
        """Call a function `times` times, store the mean time, and return the last result."""
        began = time.process_time()
        for _ in range(times):
            result = call()
        self.times.setdefault(name, []).append((time.process_time() - began) / times)
        return result

    def median(self, name):
        """Return the median, in seconds."""
        return statistics.median(self.times[name])

    def middle(self, name):
        """Return the quartiles, in seconds."""
        low, _, high = statistics.quantiles(self.times[name], n=4)
        return low, high


def network(depth, members):
    """Return a loop of networks that differ by seed."""
    overrides = [f"model.depth={depth}", f"model.width={WIDTH}", "model.init=kaiming_normal"]
    overrides += ["optim.lr=1e-4", "tracking=none"]
    settings = [compose("config", [*overrides, f"seed={seed}"])[0] for seed in range(members)]
    return Loop(settings, load(settings[0]), [[] for _ in settings])


class Products:
    """The matrix products of a step: one forward and two backward for each layer."""

    def __init__(self, stack):
        weights = [p for p in stack.params.values() if p.ndim == 3]
        self.triples = []
        for weight in weights:
            members, out, into = weight.shape
            signals = torch.randn(members, into, BATCH), torch.randn(members, out, BATCH)
            self.triples.append((weight, *signals))
        self.operations = sum(6 * weight.numel() * BATCH for weight in weights)

    def all(self):
        """Compute the products of every layer."""
        for weight, x, delta in self.triples:
            torch.bmm(weight, x), torch.bmm(delta, x.mT), torch.bmm(weight.mT, delta)

    def hot(self):
        """Compute the products of one layer, as often as there are layers."""
        weight, x, delta = self.triples[len(self.triples) // 2]
        for _ in self.triples:
            torch.bmm(weight, x), torch.bmm(delta, x.mT), torch.bmm(weight.mT, delta)

    @property
    def hot_operations(self):
        """The floating-point operations of `hot`."""
        weight = self.triples[len(self.triples) // 2][0]
        return len(self.triples) * 6 * weight.numel() * BATCH


def recorded(loop, *named):
    """Return the tensors from which a record is computed, without duplicates."""
    tensors = [
        tensor for signals in loop.recorder.probes.signals for tensor in vars(signals).values()
    ]
    tensors += [each[f"{m.name}.linear.weight"] for m in loop.recorder.modules for each in named]
    return list({x.data_ptr(): x for x in tensors if isinstance(x, torch.Tensor)}.values())


def repetition(loop, products, clock, large, step):
    """Time every part of a step once."""
    stack, parameters = loop.stack, loop.stack.parameters
    clock.time("large product", lambda: large @ large)
    clock.time("products, in the cache", products.hot)
    clock.time("products", products.all)
    x, y = clock.time("batch", lambda: loop.minibatches.next(loop.alive))
    loss, _ = clock.time("forward", lambda: stack.losses(x, y))
    grads = clock.time("backward", lambda: stack.gradients(loss))
    with torch.no_grad():
        clock.time("norm of the gradient", lambda: joint_norm(grads))
        clock.time("save parameters", parameters.save)
        clock.time("update", lambda: loop.updates.step(grads, loss, loop.alive))
        clock.time("check finiteness", parameters.finite)
    with loop.recorder.probes:
        loss, _ = clock.time("forward, recorded", lambda: stack.losses(x, y))
        grads = clock.time("backward, recorded", lambda: stack.gradients(loss))
    with torch.no_grad():
        named = parameters.name_blocks(grads), stack.params
        signals = loop.recorder.probes.signals
        clock.time(
            "measure", lambda: measure(loop.recorder.modules, signals, parameters.saved, *named)
        )
        each = recorded(loop, parameters.saved, *named)
        clock.time("sum each", lambda: [x.sum() for x in each])
    clock.time("whole step", lambda: loop.step(step, recorded=False))


def print_tables(depth, loop, products, clock):
    """Print the two tables of a network."""
    members = loop.stack.size
    print(f"\n{depth} x {WIDTH}, {members} networks: {products.operations / 1e9:.2f} GFLOP a step")
    rates = {
        "large product": 2 * LARGE**3,
        "products, in the cache": products.hot_operations,
        "products": products.operations,
    }
    for name, operations in rates.items():
        low, high = (operations / t / 1e9 for t in clock.middle(name)[::-1])
        rate = operations / clock.median(name) / 1e9
        print(f"  {name:28s} {rate:7.1f} GFLOP/s ({low:.0f} to {high:.0f})")
    both = clock.median("forward") + clock.median("backward")
    whole = clock.median("whole step")
    for name, seconds in (("forward and backward", both), ("whole step", whole)):
        print(f"  {name:28s} {products.operations / seconds / 1e9:7.1f} GFLOP/s")
    hooks = clock.median("forward, recorded") + clock.median("backward, recorded") - both
    parts = {"products": clock.median("products")}
    parts["activations, biases, loss, calls"] = both - parts["products"]
    names = "batch", "norm of the gradient", "save parameters", "update", "check finiteness"
    parts |= {name: clock.median(name) for name in names}
    parts["other"] = whole - sum(parts.values())
    print(f"  whole step {whole * 1e3:.2f} ms, of which")
    for name, seconds in parts.items():
        print(f"    {name:34s} {seconds * 1e3:7.2f} ms  {seconds / whole:6.1%}")
    recording = {"hooks": hooks, "measure": clock.median("measure")}
    print("  recording a step adds")
    for name, seconds in recording.items():
        print(f"    {name:34s} {seconds * 1e3:7.2f} ms  {seconds / whole:6.1%}")
    least = clock.median("sum each")
    print(f"    {'(a sum over each tensor)':34s} {least * 1e3:7.2f} ms  {least / whole:6.1%}")
    tenth = sum(recording.values()) / 10
    print(
        f"    {'every 10th step, per step':34s} {tenth * 1e3:7.2f} ms  {tenth / whole:6.1%}",
        flush=True,
    )


def main(members=23, repetitions=20) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    load_1 = os.getloadavg()[0]
    print(f"{platform.machine()}, one thread, torch {torch.__version__}, load {load_1:.1f}")
    large = torch.randn(LARGE, LARGE)
    for depth in DEPTHS:
        loop = network(depth, members)
        products, clock = Products(loop.stack), Clock()
        for step in range(3):
            loop.step(step, recorded=True)
        for each in range(repetitions):
            repetition(loop, products, clock, large, 3 + each)
        print_tables(depth, loop, products, clock)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
