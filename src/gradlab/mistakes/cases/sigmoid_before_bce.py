"""Sigmoid followed by BCELoss: where the sigmoid is saturated, wrong outputs get no gradient."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.mistakes.building_blocks import Batch, at_least_five_batches, confident_network
from gradlab.mistakes.mistake import Bound, Mistake, Program, Symptom


def broken(seed: int = 0) -> Program:
    model = nn.Sequential(confident_network(seed), nn.Sigmoid())
    criterion = nn.BCELoss()

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Program(
        step, model, torch.optim.Adam(model.parameters(), lr=1e-3), at_least_five_batches()
    )


def fixed(seed: int = 0) -> Program:
    model = nn.Sequential(confident_network(seed))
    criterion = nn.BCEWithLogitsLoss()

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Program(
        step, model, torch.optim.Adam(model.parameters(), lr=1e-3), at_least_five_batches()
    )


def measure(program: Program) -> Symptom:
    logits: list[Tensor] = []

    def keep(module: nn.Module, args: object, z: Tensor) -> None:
        z.retain_grad()
        logits.append(z)

    handle = program.model.get_submodule("0").register_forward_hook(keep)
    for batch in program.batches:
        program.step(program.model, program.optimizer, batch)
    handle.remove()
    z, y = torch.cat(logits), torch.cat([y for _, y in program.batches])
    slopes = torch.cat([each.grad for each in logits if each.grad is not None])
    no_gradient = (slopes == 0)[(z > 0) != (y > 0)]
    return Symptom(
        "wrong outputs whose gradient is exactly 0", 100 * float(no_gradient.double().mean()), "%"
    )


MISTAKE = Mistake(
    name="sigmoid_before_bce",
    title="Sigmoid followed by BCELoss",
    why="In float32 the sigmoid of a logit above 17 is exactly 1, and its derivative p (1 - p) is "
    "0. BCELoss clamps the infinite logarithm, so torch raises no error. The outputs that are "
    "wrong with the highest confidence get no gradient.",
    fix="Remove the sigmoid and use `BCEWithLogitsLoss`, whose derivative is p - y for every "
    "logit.",
    broken=broken,
    fixed=fixed,
    symptom=measure,
    bound=Bound(0, 0),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
)
