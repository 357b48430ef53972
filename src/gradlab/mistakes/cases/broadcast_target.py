"""A target of shape (N,) against an output of (N, 1): each output is compared with all targets."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, delivery_batches, delivery_dataset
from gradlab.mistakes.measures import train
from gradlab.mistakes.mistake import Bound, Mistake, Program, Step, Symptom, seeded


def broken_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def fixed_step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = ((model(x).squeeze(1) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def build(step: Step, seed: int = 0) -> Program:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.1), delivery_batches())


def measure(program: Program) -> Symptom:
    train(program, 100)
    data = delivery_dataset()
    with torch.no_grad():
        missed = data.y_test - program.model(data.x_test.float())
    explained = 1 - float(missed.square().mean() / data.y_test.var())
    return Symptom("explained share of the held-out variance", 100 * explained, "%")


MISTAKE = Mistake(
    name="broadcast_target",
    title="a target of shape (N,) against an output of (N, 1)",
    why="Broadcasting makes the difference an (N, N) matrix of all pairs. The loss is smallest if "
    "every output is the mean of all targets, so the network learns this mean for every input. "
    "(`mse_loss` warns of it; a hand-written formula does not.)",
    fix="Give both tensors the same shape: `output.squeeze(1)`, or `target.unsqueeze(1)`.",
    broken=partial(build, broken_step),
    fixed=partial(build, fixed_step),
    symptom=measure,
    bound=Bound(low=50),
    code=(broken_step, fixed_step),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html",
)
