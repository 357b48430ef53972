"""Layers kept in a plain list: the module does not know that it has them."""

import torch
from torch import Tensor, nn

from gradlab.mistakes.material import digits_batches, step
from gradlab.mistakes.measures import moved
from gradlab.mistakes.mistake import Bound, Mistake, Practice, seeded


class BrokenNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(64, 64), nn.Linear(64, 64)]
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.out(x)


class FixedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(64, 64), nn.Linear(64, 64)])
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.out(x)


def practice(net: type[nn.Module], seed: int) -> Practice:
    with seeded(seed):
        model = net()
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def broken(seed: int = 0) -> Practice:
    return practice(BrokenNet, seed)


def fixed(seed: int = 0) -> Practice:
    return practice(FixedNet, seed)


MISTAKE = Mistake(
    name="plain_list",
    title="a layer kept in a plain list",
    why="A module registers only modules and parameters that are its own attributes. Those inside "
    "a list or dict are missing from `parameters()`, so from the optimiser, from `state_dict()`, "
    "and from `to(device)`.",
    fix="Use `nn.ModuleList` or `nn.ModuleDict` (`nn.ParameterList` for bare parameters).",
    broken=broken,
    fixed=fixed,
    symptom=moved,
    holds=Bound(low=100),
    code=(BrokenNet, FixedNet),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html",
)
