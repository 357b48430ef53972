"""Keeping `loss` in a list: its graph stays in memory."""

import weakref
from itertools import islice

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, digits_program
from gradlab.mistakes.measures import graph_nodes
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom

STEPS = 20


def broken(seed: int = 0) -> Program:
    history: list[Tensor] = []

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        history.append(loss)
        return loss

    return digits_program(step, seed)


def fixed(seed: int = 0) -> Program:
    history: list[float] = []

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        return loss

    return digits_program(step, seed)


def measure(program: Program) -> Symptom:
    losses = [
        weakref.ref(program.step(program.model, program.optimizer, batch))
        for batch in islice(program.batches, STEPS)
    ]
    alive = {node for loss in losses for node in graph_nodes(loss())}
    return Symptom(f"nodes of past graphs still in memory after {STEPS} steps", len(alive))


MISTAKE = Mistake(
    name="kept_graph",
    title="keeping `loss` with its graph in a list",
    why="A loss refers to its graph. A list or a running sum of losses keeps all graphs in "
    "memory, which grows with each step. If `backward` was not called on the loss, as in a "
    "validation without `no_grad`, the graph also contains all activations.",
    fix="Store `loss.item()`, or `loss.detach()` to avoid waiting for the device.",
    broken=broken,
    fixed=fixed,
    symptom=measure,
    bound=Bound(0, 0),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/notes/faq.html",
)
