"""From the optimisers' own hooks to recorded steps.

A parameter's gradient is read where it is whole: after accumulation over micro-batches, averaging
over processes and unscaling; that is just before it is clipped, or else before the optimiser steps.
A step is a round: every optimiser that is watched has made one update.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.lab.parameters import Reading, moved, of_bias, of_weight
from gradlab.lab.ranks import whole
from gradlab.lab.signals import Call, Signals
from gradlab.lab.sites import Site
from gradlab.lab.sizes import size_of


@dataclass
class Round:
    """What is known of a step; parameters by their id.

    Attributes:
        step: rounds before it.
        recorded: whether it is one to be recorded.
        calls: of the sites, up to the last optimiser's update.
        losses: of the backward passes, scaled by `scale`.
        scale: of the loss; None if it was not scaled.
        readings: of gradients.
        clipped: norms of gradients after clipping, of those that were.
        before: weights, until the update.
        moved: norms of what the update added.
        weights: norms of the weights before it.
        stepped: optimisers that have made their update.
    """

    step: int
    recorded: bool
    calls: list[Call] = field(default_factory=list[Call])
    losses: list[Tensor] = field(default_factory=list[Tensor])
    scale: Tensor | None = None
    readings: dict[int, Reading] = field(default_factory=dict[int, Reading])
    clipped: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    before: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    moved: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    weights: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    stepped: list[Optimizer] = field(default_factory=list[Optimizer])


class Rounds:
    """Listens to optimisers and to PyTorch, and hands on each round that is to be recorded.

    Args:
        network: without wrappers.
        sites: whose weights are told of one by one.
        signals: of the same sites.
        optimizers: that make up a round; None takes every update of a parameter of the network,
            by whichever optimiser, for a round.
        wanted: says of a step whether it is recorded.
        done: is called with each round that was.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[Site],
        signals: Signals,
        optimizers: Sequence[Optimizer] | None,
        wanted: Callable[[int], bool],
        done: Callable[[Round], None],
    ) -> None:
        self.network, self.sites, self.signals = network, sites, signals
        self.optimizers, self.wanted, self.done = optimizers, wanted, done
        self.skipped = 0
        self._inside: Optimizer | None = None
        self._depth, self._heard = 0, 0
        self._loss: Tensor | None = None
        self._losses: list[tuple[Tensor, bool]] = []  # and whether their gradients came here
        self._scale: Tensor | None = None
        self._read: set[int] = set()  # since the last backward pass, for clipping
        self._round = Round(0, wanted(0))
        self._handles: list[Any] = []

    def open(self) -> None:
        """Put the hooks on."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self.signals.on = self._round.recorded

    def close(self) -> None:
        """Take them off, and complete the round that some optimisers have begun."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._round.stepped:
            self._finish()

    # What optimisers do

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if not self._is_ours(optimizer) or self._inside not in (None, optimizer):
            return None  # one optimiser inside another makes one update
        self._inside = optimizer
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._gradients_are_there(optimizer)
            return None
        first = True

        def heard() -> Any:
            nonlocal first
            loss = closure()
            if first:
                first = False
                self._gradients_are_there(optimizer)
                self.signals.on = False  # of LBFGS, the first evaluation is what is recorded
            return loss

        if len(args) > 1:
            return (args[0], heard, *args[2:]), kwargs
        return args, {**kwargs, "closure": heard}

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._inside is not optimizer:
            return
        self._inside = None
        self._round.stepped.append(optimizer)
        if self.optimizers is None or len(self._round.stepped) == len(self.optimizers):
            self._finish()
        else:
            self.signals.on = self._round.recorded

    def _is_ours(self, optimizer: Optimizer) -> bool:
        if self.optimizers is not None:
            return any(optimizer is ours for ours in self.optimizers)
        ours = {id(p) for p in self.network.parameters()}
        return any(id(p) in ours for p in parameters_of(optimizer))

    @torch.no_grad()
    def _gradients_are_there(self, optimizer: Optimizer) -> None:
        """Take what belongs to the update that is about to be made."""
        if any(optimizer is other for other in self._round.stepped):
            self._finish(late=True)
        found = self._round
        calls, losses = self.signals.take(), self._losses
        self._losses = []
        if _holds_inf(optimizer):
            self.skipped += 1
            self._inside = None
            self._read.clear()
            return
        if not found.recorded:
            return
        audible = bool(self.signals.order)
        found.calls += calls
        found.losses += [loss for loss, heard in losses if heard or not audible]
        found.scale = self._scale
        self._remember(optimizer)
        mine = parameters_of(optimizer)
        for p in mine:
            if id(p) in self._read and p.grad is not None:
                found.clipped[id(p)] = size_of(whole(p.grad))
        self._read_all([p for p in mine if id(p) not in self._read])
        factor = getattr(optimizer, "grad_scale", None)
        if factor is not None:  # a fused optimiser unscales by itself
            for p in mine:
                self._divide(id(p), factor)

    def _divide(self, key: int, scale: Tensor) -> None:
        reading = self._round.readings.get(key)
        if reading is not None:
            self._round.readings[key] = reading._replace(norm=reading.norm / scale)

    def _remember(self, optimizer: Optimizer) -> None:
        """At the first update of a round, keep the weights, and read what no optimiser holds."""
        found = self._round
        if found.stepped:
            return
        for site in self.sites:
            for name in site.weights:
                p = parameter(site, name)
                if p is not None and id(p) not in found.before:
                    full = whole(p.detach())
                    found.weights[id(p)] = size_of(full)
                    if p.requires_grad:
                        found.before[id(p)] = full.clone()
        held = {id(p) for each in self.optimizers or [optimizer] for p in parameters_of(each)}
        self._read_all([p for p in self.network.parameters() if id(p) not in held])

    def _read_all(self, parameters: Sequence[Tensor]) -> None:
        kinds: dict[int, set[bool]] = defaultdict(set)
        for site in self.sites:
            for name in site.weights:
                kinds[id(parameter(site, name))].add(site.units_second)
        for p in parameters:
            if p.grad is None:
                continue
            grad = whole(p.grad)
            grad = grad.to_dense() if grad.is_sparse else grad
            key = id(p)
            self._round.readings[key] = (
                of_weight(grad, kinds[key]) if key in kinds else of_bias(grad)
            )

    @torch.no_grad()
    def _finish(self, late: bool = False) -> None:
        found = self._round
        if found.recorded:
            for site in self.sites:
                for name in site.weights:
                    p = parameter(site, name)
                    if p is not None and id(p) in found.before and id(p) not in found.moved:
                        found.moved[id(p)] = moved(found.before[id(p)], whole(p.detach()))
            found.before.clear()
            self.done(found)
        # Signals of a step whose record begins late were not listened to from its beginning.
        wanted = self.wanted(found.step + 1) and (found.recorded or not late)
        self._round = Round(found.step + 1, wanted)
        self.signals.on = wanted
        self._scale = None
        self._read.clear()

    # What PyTorch is asked to do

    def backward_begins(self, loss: Tensor | None) -> None:
        """Listen; what was read before it is no longer the whole gradient."""
        self._depth += 1
        self.signals.backward = True
        if self._depth == 1:
            self._read.clear()
            self._heard = self.signals.count
            self._loss = loss

    def backward_ends(self) -> None:
        """Keep the loss, and whether its gradient came to this network."""
        self._depth -= 1
        self.signals.backward = self._depth > 0
        if self._depth == 0 and self._loss is not None:
            self._losses.append((self._loss, self.signals.count > self._heard))

    @torch.no_grad()
    def clipping(self, parameters: Sequence[Tensor]) -> None:
        """Read gradients before they are clipped, the first time since they came."""
        if self._round.recorded:
            ours = {id(p) for p in self.network.parameters()} - self._read
            fresh = [p for p in parameters if id(p) in ours]
            self._read_all(fresh)
            self._read |= {id(p) for p in fresh}

    def scaled(self, scale: Tensor) -> None:
        """Remember by what the loss is multiplied."""
        self._scale = scale

    def scale_updated(self) -> None:
        """Drop what a skipped step has left: it belongs to no update."""
        if self._losses:
            self.skipped += 1
            self._losses.clear()
            self.signals.take()
            self._read.clear()
        self._scale = None


def parameter(site: Site, name: str) -> Tensor | None:
    """Return a site's parameter as it is now; None if it has been taken away."""
    return reduce(lambda owner, part: getattr(owner, part, None), name.split("."), site.module)


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all that an optimiser holds."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _holds_inf(optimizer: Optimizer) -> bool:
    """Say whether a fused optimiser was told by a `GradScaler` to make no update."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and float(found) > 0
