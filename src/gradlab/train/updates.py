"""The optimiser of a stack whose members may each have a learning rate of their own."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from gradlab.settings import Component


class Updates:
    """One torch optimiser over theta [M, P]: members that share a learning rate share a group.

    Exact only for an optimiser that updates an entry by what it knows of that entry alone.
    """

    def __init__(self, optims: Sequence[Component], theta: Tensor) -> None:
        rates = [optim.params.get("lr") for optim in optims]
        self.theta, self.members = theta, [0] * len(rates)
        self.parts: list[tuple[slice, Tensor]] = []
        groups: list[dict[str, Any]] = []
        for rate, run in groupby(range(len(rates)), key=rates.__getitem__):
            members = list(run)
            rows = slice(members[0], members[-1] + 1)
            whole = len(members) == len(rates)
            part = theta if whole else theta.detach()[rows].requires_grad_()  # of theta's memory
            self.parts.append((rows, part))
            self.members[rows] = [len(groups)] * len(members)
            groups.append({"params": [part], **({} if rate is None else {"lr": rate})})
        self.optimiser: Any = optims[0].call(groups)

    def step(self, grad: Tensor) -> None:
        """Update theta by a gradient, [M, P]."""
        for rows, part in self.parts:
            part.grad = grad[rows]
        self.optimiser.step()

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        groups = self.optimiser.param_groups
        return [float(groups[group]["lr"]) for group in self.members]
