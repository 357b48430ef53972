"""The optimiser of a stack whose members may each have a learning rate of their own."""

import inspect
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from gradlab.config.choices import Component, locate

EXACT = (torch.float32, torch.float64)


class Updates:
    """One torch optimiser over all parameters: members that share a learning rate share a group.

    Exact only for an optimiser that updates an entry by what it knows of that entry alone.
    """

    def __init__(self, optims: Sequence[Component], blocks: Sequence[Tensor]) -> None:
        rates = [optim.params.get("lr") for optim in optims]
        self.members = [0] * len(rates)
        self.parts: list[tuple[slice, list[Tensor]]] = []
        groups: list[dict[str, Any]] = []
        for rate, run in groupby(range(len(rates)), key=rates.__getitem__):
            members = list(run)
            rows = slice(members[0], members[-1] + 1)
            params = [block[rows].requires_grad_() for block in blocks]  # of the blocks' memory
            self.parts.append((rows, params))
            self.members[rows] = [len(groups)] * len(members)
            groups.append({"params": params, **({} if rate is None else {"lr": rate})})
        self.optimiser: Any = optims[0].call(groups, **_in_one_pass(optims[0], blocks[0].dtype))

    def step(self, grads: Sequence[Tensor]) -> None:
        """Update all parameters by their gradients, laid out as they are."""
        for rows, params in self.parts:
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad[rows]
        self.optimiser.step()

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        groups = self.optimiser.param_groups
        return [float(groups[group]["lr"]) for group in self.members]


def _in_one_pass(optim: Component, dtype: torch.dtype) -> dict[str, bool]:
    """Ask an optimiser of torch's for its fused form: one pass over memory instead of up to ten.

    Not in half precision: there the fused form (of torch 2.13, on a CPU) rounds otherwise, and
    loses small updates of small weights that the plain form makes.
    """
    if dtype not in EXACT or not (optim.target or "").startswith("torch.optim."):
        return {}
    takes = inspect.signature(locate(optim.target or "")).parameters
    return {"fused": True} if "fused" in takes else {}
