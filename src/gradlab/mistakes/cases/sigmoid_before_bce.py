"""Sigmoid followed by BCELoss: where the sigmoid is saturated, wrong answers get no gradient."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.mistakes.material import Batch, at_least_five, confident_net
from gradlab.mistakes.mistake import Bound, Mistake, Practice, Symptom


def broken(seed: int = 0) -> Practice:
    model = nn.Sequential(confident_net(seed), nn.Sigmoid())
    criterion = nn.BCELoss()

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Practice(step, model, torch.optim.Adam(model.parameters(), lr=1e-3), at_least_five())


def fixed(seed: int = 0) -> Practice:
    model = nn.Sequential(confident_net(seed))
    criterion = nn.BCEWithLogitsLoss()

    def step(model: nn.Module, optimizer: Optimizer, batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Practice(step, model, torch.optim.Adam(model.parameters(), lr=1e-3), at_least_five())


def symptom(practice: Practice) -> Symptom:
    logits: list[Tensor] = []

    def keep(module: nn.Module, args: object, z: Tensor) -> None:
        z.retain_grad()
        logits.append(z)

    handle = practice.model.get_submodule("0").register_forward_hook(keep)
    for batch in practice.batches:
        practice.step(practice.model, practice.optimizer, batch)
    handle.remove()
    z, y = torch.cat(logits), torch.cat([y for _, y in practice.batches])
    slopes = torch.cat([each.grad for each in logits if each.grad is not None])
    unheard = (slopes == 0)[(z > 0) != (y > 0)]
    return Symptom(
        "wrong answers whose gradient is exactly 0", 100 * float(unheard.double().mean()), "%"
    )


MISTAKE = Mistake(
    name="sigmoid_before_bce",
    title="Sigmoid followed by BCELoss",
    why="In float32 the sigmoid of a logit above 17 is 1, with derivative p (1 - p) = 0. BCELoss "
    "clamps its own infinite logarithm, so nothing is raised: the answers that are wrong with the "
    "greatest confidence are those that the network does not hear of.",
    fix="Leave the sigmoid out and use `BCEWithLogitsLoss`, whose derivative is p - y whatever "
    "the logit.",
    broken=broken,
    fixed=fixed,
    symptom=symptom,
    holds=Bound(high=0),
    code=(broken, fixed),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
)
