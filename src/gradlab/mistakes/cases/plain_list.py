"""Layers in a plain list: the module does not register them."""

import torch
from torch import Tensor, nn

from gradlab.mistakes.building_blocks import digits_batches, step
from gradlab.mistakes.measures import measure_moved_weights
from gradlab.mistakes.mistake import Bound, Mistake, Program, seeded


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


def build(net: type[nn.Module], seed: int) -> Program:
    with seeded(seed):
        model = net()
    return Program(step, model, torch.optim.SGD(model.parameters(), lr=0.3), digits_batches())


def broken(seed: int = 0) -> Program:
    return build(BrokenNet, seed)


def fixed(seed: int = 0) -> Program:
    return build(FixedNet, seed)


MISTAKE = Mistake(
    name="plain_list",
    title="layers in a plain list",
    why="A module registers only modules and parameters that are its direct attributes. Layers in "
    "a list or dict are missing from `parameters()` and therefore from the optimiser. They are "
    "also missing from `state_dict()`, and `to(device)` does not move them.",
    fix="Use `nn.ModuleList` or `nn.ModuleDict` (`nn.ParameterList` for bare parameters).",
    broken=broken,
    fixed=fixed,
    symptom=measure_moved_weights,
    bound=Bound(100, 100),
    code=(BrokenNet, FixedNet),
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html",
)
