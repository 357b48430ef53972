"""Measure the cost of gradlab.watch and wandb.watch, on a GPT-2 of ten million parameters.

    OMP_NUM_THREADS=1 python benchmarks/watch.py

The variants train in turn, in one process and on one thread. The table shows the median CPU time of
a step, and the time that a variant adds to the plain loop: median and quartiles over the repeats.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import gradlab


def network() -> GPT2LMHeadModel:
    """Return a GPT-2 of 10.6 million parameters: 6 blocks of width 320, 10,000 words."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=10_000, n_positions=128, n_embd=320, n_layer=6, n_head=5,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


class Loop:
    """A model, its optimiser and a batch."""

    def __init__(self, batch: int, length: int) -> None:
        self.model = network()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 3e-4)
        self.tokens = torch.randint(10_000, (batch, length))

    def step(self) -> None:
        """Make one update."""
        self.optimizer.zero_grad()
        self.model(input_ids=self.tokens, labels=self.tokens).loss.backward()
        self.optimizer.step()


@contextmanager
def bare(loop: Loop) -> Iterator[Callable[[], None]]:
    """Run the loop without a monitor."""
    yield loop.step


@contextmanager
def gradlab_every_step(loop: Loop) -> Iterator[Callable[[], None]]:
    """`gradlab.watch(every=1)`."""
    with gradlab.watch(loop.model, loop.optimizer):
        yield loop.step


@contextmanager
def gradlab_every_10(loop: Loop) -> Iterator[Callable[[], None]]:
    """`gradlab.watch(every=10)`."""
    with gradlab.watch(loop.model, loop.optimizer, every=10):
        yield loop.step


@contextmanager
def every_step_without_checks(loop: Loop) -> Iterator[Callable[[], None]]:
    """`gradlab.watch(every=1, locate=False)`."""
    with gradlab.watch(loop.model, loop.optimizer, locate=False):
        yield loop.step


@contextmanager
def every_10_without_checks(loop: Loop) -> Iterator[Callable[[], None]]:
    """`gradlab.watch(every=10, locate=False)`."""
    with gradlab.watch(loop.model, loop.optimizer, every=10, locate=False):
        yield loop.step


@contextmanager
def every_step_with_black_box(loop: Loop) -> Iterator[Callable[[], None]]:
    """`gradlab.watch(every=1, black_box=folder)`, with a copy of the weights every 20 steps."""
    with (
        tempfile.TemporaryDirectory() as folder,
        gradlab.watch(loop.model, loop.optimizer, black_box=f"{folder}/black_box"),
    ):
        yield loop.step


def _wandb_watch(every: int) -> Callable[[Loop], Iterator[Callable[[], None]]]:
    def watch(loop: Loop) -> Iterator[Callable[[], None]]:
        import wandb

        with tempfile.TemporaryDirectory() as folder:
            run = wandb.init(
                dir=folder, project="watch",
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
            )  # fmt: skip
            run.watch(loop.model, log="gradients", log_freq=every)

            def step() -> None:
                loop.step()
                run.log({"loss": 0.0})

            yield step
            run.unwatch(loop.model)
            run.finish()

    return watch


wandb_every_step = contextmanager(_wandb_watch(1))
wandb_every_step.__doc__ = '`wandb.watch(log="gradients", log_freq=1)`.'
wandb_every_10 = contextmanager(_wandb_watch(10))
wandb_every_10.__doc__ = '`wandb.watch(log="gradients", log_freq=10)`.'
VARIANTS = {
    "bare": bare,
    "gradlab, every step": gradlab_every_step,
    "gradlab, every 10th": gradlab_every_10,
    "every step, no checks": every_step_without_checks,
    "every 10th, no checks": every_10_without_checks,
    "every step, black box": every_step_with_black_box,
    "wandb, every step": wandb_every_step,
    "wandb, every 10th": wandb_every_10,
}


def measure(batch: int, length: int, repeats: int, steps: int) -> dict[str, list[float]]:
    """Measure the CPU time of a step for each variant.

    Args:
        batch: Samples in a batch.
        length: Tokens in a sample.
        repeats: Number of measurements.
        steps: Steps in a measurement.

    Returns:
        Seconds per step in each repeat, keyed by variant.
    """
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    loops = {name: Loop(batch, length) for name in VARIANTS}
    for _ in range(repeats):
        for name, variant in VARIANTS.items():
            with variant(loops[name]) as step:
                began = time.process_time()
                for _ in range(steps):
                    step()
                seconds[name].append((time.process_time() - began) / steps)
    return seconds


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = sum(p.numel() for p in network().parameters())
    print(f"{size / 1e6:.1f}M parameters, {args.batch} x {args.length} tokens a step, one thread")
    measured = measure(args.batch, args.length, args.repeats, args.steps)
    for name, seconds in measured.items():
        added = [100 * (s / b - 1) for s, b in zip(seconds, measured["bare"], strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        median = 1000 * statistics.median(seconds)
        print(f"{name:21s} {median:8.1f} ms a step   {middle:+6.1f}%  ({low:+.1f} … {high:+.1f})")


if __name__ == "__main__":
    main()
