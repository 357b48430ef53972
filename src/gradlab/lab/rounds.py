"""From the optimisers' own hooks to recorded steps.

A parameter's gradient is read where it is whole: after accumulation over micro-batches, averaging
over processes and unscaling; that is just before it is clipped, or else before the optimiser steps.
A step is a round: every optimiser that is watched has made one update.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.lab.optimizers import holds_inf, parameters_of
from gradlab.lab.round import Round
from gradlab.lab.signals import Signals


class Rounds:
    """Listens to optimisers and to PyTorch, and hands on each round that is to be recorded.

    Args:
        network: without wrappers.
        signals: of its sites.
        optimizers: that make up a round; None takes every update of a parameter of the network,
            by whichever optimiser, for a round.
        wanted: says of a step whether it is recorded.
        done: is called with each round that was.

    Attributes:
        skipped: steps that a `GradScaler` did not make.
    """

    def __init__(
        self,
        network: nn.Module,
        signals: Signals,
        optimizers: Sequence[Optimizer] | None,
        wanted: Callable[[int], bool],
        done: Callable[[Round], None],
    ) -> None:
        self.network, self.signals = network, signals
        self.optimizers, self.wanted, self.done = optimizers, wanted, done
        self.skipped = 0
        self._inside: Optimizer | None = None
        self._asked: Optimizer | None = None  # by a GradScaler, to step
        self._depth, self._heard = 0, 0
        self._loss: Tensor | None = None
        self._losses: list[tuple[Tensor, bool]] = []  # and whether their gradients came here
        self._scale: Tensor | None = None
        self._read: set[int] = set()  # since the last backward pass, for clipping
        self._round = Round(0, signals.sites, wanted(0))
        self._handles: list[Any] = []

    def open(self) -> None:
        """Put the hooks on."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self.signals.on = self._round.recorded

    def close(self, failed: bool) -> None:
        """Take them off, and complete the round that some optimisers have begun.

        After a failure it is not completed: other processes might not do so.
        """
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._inside = None
        if self._round.stepped and not failed:
            self._finish()

    # What optimisers do

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if not self._is_ours(optimizer) or self._inside not in (None, optimizer):
            return None  # one optimiser inside another makes one update
        self._inside, self._asked = optimizer, None
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
        if holds_inf(optimizer):
            self._inside = None
            self._skip()
            return
        found, losses, calls = self._round, self._losses, self.signals.take()
        self._losses = []
        if not found.recorded:
            return
        audible = bool(self.signals.order)
        found.calls += calls
        found.losses += [loss for loss, heard in losses if heard or not audible]
        found.scale = self._scale
        mine = parameters_of(optimizer)
        if not found.stepped:
            found.remember()
            held = {id(p) for each in self.optimizers or [optimizer] for p in parameters_of(each)}
            found.read(p for p in self.network.parameters() if id(p) not in held)
        found.read_clipped(p for p in mine if id(p) in self._read)
        found.read(p for p in mine if id(p) not in self._read)
        if (factor := getattr(optimizer, "grad_scale", None)) is not None:
            found.unscale(mine, factor)

    @torch.no_grad()
    def _finish(self, late: bool = False) -> None:
        """Hand on the round, and begin the next."""
        found = self._round
        if found.recorded:
            found.settle()
            self.done(found)
        # Signals of a step whose record begins late were not listened to from its beginning.
        wanted = self.wanted(found.step + 1) and (found.recorded or not late)
        self._round = Round(found.step + 1, found.sites, wanted)
        self.signals.on = wanted
        self._scale = None
        self._read.clear()

    def _skip(self) -> None:
        """Drop what belongs to no update."""
        self.skipped += 1
        self._losses.clear()
        self.signals.take()
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
        heard = self.signals.count > self._heard
        if self._depth or self._loss is None or not self._round.recorded:
            return
        if heard or not self.signals.order:
            self._losses.append((self._loss, heard))
        self._loss = None

    @torch.no_grad()
    def clipping(self, parameters: Sequence[Tensor]) -> None:
        """Read gradients before they are clipped, the first time since they came."""
        if self._round.recorded:
            ours = {id(p) for p in self.network.parameters()} - self._read
            fresh = [p for p in parameters if id(p) in ours]
            self._round.read(fresh)
            self._read |= {id(p) for p in fresh}

    def scaled(self, scale: Tensor) -> None:
        """Remember by what the loss is multiplied."""
        self._scale = scale

    def asked_to_step(self, optimizer: Optimizer) -> None:
        """Wait for the step."""
        self._asked = optimizer

    def has_been_asked(self, optimizer: Optimizer) -> None:
        """Drop what a step that was not made has left."""
        if self._asked is optimizer and self._is_ours(optimizer):
            self._skip()
        self._asked = None
