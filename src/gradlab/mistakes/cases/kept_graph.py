"""Keeping `loss` in a list: its graph stays in memory with it."""

import weakref
from itertools import islice

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, on_digits
from gradlab.mistakes.measures import graph
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom

STEPS = 20


def broken(seed: int = 0) -> Practice:
    history: list[Tensor] = []

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        history.append(loss)
        return loss

    return on_digits(step, seed)


def fixed(seed: int = 0) -> Practice:
    history: list[float] = []

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        return loss

    return on_digits(step, seed)


def symptom(practice: Practice) -> Symptom:
    losses = [
        weakref.ref(practice.step(practice.model, practice.optimizer, batch))
        for batch in islice(practice.batches, STEPS)
    ]
    alive = {node for loss in losses for node in graph(loss())}
    return Symptom(f"nodes of past graphs still in memory after {STEPS} steps", len(alive))


MISTAKE = Mistake(
    name="kept_graph",
    title="keeping `loss` with its graph in a list",
    why="A loss holds the graph that it came from. In a list, or in a running sum, every graph so "
    "far stays alive, and memory grows with each step; before `backward`, or in a validation "
    "without `no_grad`, all activations stay as well.",
    fix="Keep `loss.item()`, or `loss.detach()` if reading it should not wait for the device.",
    broken=broken,
    fixed=fixed,
    symptom=symptom,
    holds=Bound(high=0),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/faq.html",
)
