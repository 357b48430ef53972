"""From the optimisers' own hooks to recorded steps.

A parameter's gradient is read where it is whole: after accumulation over micro-batches, averaging
over processes and unscaling; that is just before it is clipped, or else before the optimiser steps.
A step is a round: every optimiser that is watched has made one update.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradlab.monitor.backward_passes import Passes
from gradlab.monitor.failsafe import harmless
from gradlab.monitor.optimizers import holds_inf, parameters_of, setting
from gradlab.monitor.signals import Signals
from gradlab.monitor.step import Round


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
        stranger: the first optimiser of the network's parameters that is none of those named.
    """

    def __init__(
        self,
        network: nn.Module,
        signals: Signals,
        optimizers: Sequence[Optimizer] | None,
        wanted: Callable[[int], bool],
        done: Callable[[Round], None],
    ) -> None:
        self.network, self.signals, self.fuse = network, signals, signals.fuse
        self.optimizers, self.wanted, self.done = optimizers, wanted, done
        self.skipped = 0
        self.stranger: str | None = None
        self._inside: Optimizer | None = None
        self._asked: Optimizer | None = None  # by a GradScaler, to step
        self._passes = Passes(network, signals)
        self._read: set[int] = set()  # since the last backward pass, for clipping
        self._round = Round(0, signals.sites, wanted(0))
        self._handles: list[Any] = []

    def open(self) -> None:
        """Put the hooks on."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._listen()

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

    @harmless
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if self._inside not in (None, optimizer):
            return None  # one optimiser inside another makes one update
        if not self._is_ours(optimizer):
            self._meet(optimizer)
            return None
        self._asked = None
        if holds_inf(optimizer):
            self._skip()
            return None
        self._inside = optimizer
        self._begin(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._gradients_are_there(optimizer)
            return None
        heard = self._around(closure, optimizer)
        if len(args) > 1:
            return (args[0], heard, *args[2:]), kwargs
        return args, {**kwargs, "closure": heard}

    def _around(self, closure: Callable[[], Any], optimizer: Optimizer) -> Callable[[], Any]:
        """Return a closure whose first evaluation is heard: of LBFGS, that is what is recorded."""
        first = True

        def heard() -> Any:
            nonlocal first
            try:
                loss = closure()
            except BaseException:
                self._inside = None  # this step will not be made
                self._listen()
                raise
            if first:
                first = False
                self._gradients_are_there(optimizer)
                self.signals.on = False
            return loss

        return heard

    @harmless
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._inside is not optimizer:
            return
        self._inside = None
        if getattr(optimizer, "grad_scale", None) is not None:  # a fused one divides in its step
            self.divided(optimizer)
        self._round.stepped.append(optimizer)
        if self.optimizers is None or len(self._round.stepped) == len(self.optimizers):
            self._finish()
        else:
            self._listen()

    def _is_ours(self, optimizer: Optimizer) -> bool:
        if self.optimizers is not None:
            return any(optimizer is ours for ours in self.optimizers)
        return self._moves(optimizer)

    def _moves(self, optimizer: Optimizer) -> bool:
        ours = {id(p) for p in self.network.parameters()}
        return any(id(p) in ours for p in parameters_of(optimizer))

    def _meet(self, optimizer: Optimizer) -> None:
        """Take note of an optimiser of this network that was not named."""
        if self.optimizers is not None and self.stranger is None and self._moves(optimizer):
            self.stranger = type(optimizer).__name__

    @torch.no_grad()
    def _begin(self, optimizer: Optimizer) -> None:
        """Keep the weights as they are before a step, which may be the first of a new round."""
        if any(optimizer is other for other in self._round.stepped):
            self._finish()
        if self._round.recorded and not self._round.stepped:
            self._round.remember()
            self._round.lr = setting(optimizer, "lr")

    @harmless
    @torch.no_grad()
    def _gradients_are_there(self, optimizer: Optimizer) -> None:
        """Take what belongs to the update that is about to be made."""
        found, (losses, calls) = self._round, self._passes.take()
        if not found.recorded:
            return
        found.losses += losses
        found.calls += calls
        mine = parameters_of(optimizer)
        if not found.stepped:
            held = self._parameters(self.optimizers or [optimizer]) | self._read
            self._take(p for p in self.network.parameters() if id(p) not in held)
        found.read_clipped(p for p in mine if id(p) in self._read)
        self._take(p for p in mine if id(p) not in self._read)

    def _parameters(self, optimizers: Iterable[Optimizer]) -> set[int]:
        return {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}

    def _take(self, parameters: Iterable[Tensor]) -> None:
        for p in parameters:
            self._round.read(p, self._passes.scales.left_on(p))

    @harmless
    @torch.no_grad()
    def _finish(self) -> None:
        """Hand on the round, and begin the next."""
        found = self._round
        if found.recorded:
            found.settle()
            self.done(found)
        self._round = Round(found.step + 1, found.sites, self.wanted(found.step + 1))
        self._listen()
        self._passes.scales.end()
        # What was clipped together with this round's, and awaits an optimiser of its own.
        self._read -= self._parameters(found.stepped)
        self._round.readings = {key: found.readings[key] for key in self._read}

    def _listen(self) -> None:
        """Listen if what comes is to be recorded; it may belong to the next round already."""
        found = self._round
        self.signals.on = found.recorded or (bool(found.stepped) and self.wanted(found.step + 1))

    def _skip(self) -> None:
        """Drop what belongs to no update."""
        self.skipped += 1
        self._passes.take()
        self._read.clear()

    # What PyTorch is asked to do

    @harmless
    def backward_begins(self, roots: Sequence[Tensor], loss: Tensor | None) -> None:
        """Listen; what was read before it is no longer the whole gradient."""
        if self._passes.begin(roots, loss):
            self._read.clear()

    @harmless
    def backward_ends(self) -> None:
        """Listen no more."""
        self._passes.end()

    @harmless
    @torch.no_grad()
    def clipping(self, parameters: Sequence[Tensor]) -> None:
        """Read gradients before they are clipped, the first time since they came."""
        if not self.signals.on:
            return
        ours = {id(p) for p in self.network.parameters()} - self._read
        fresh = [p for p in parameters if id(p) in ours]
        done = self._parameters(self._round.stepped)
        if fresh and all(id(p) in done for p in fresh):  # it is their turn again
            self._finish()
            done.clear()
        if self._round.recorded:
            fresh = [p for p in fresh if id(p) not in done and p.grad is not None]
            self._take(fresh)
            self._read |= {id(p) for p in fresh}

    @harmless
    def multiplied(self, losses: Sequence[Tensor], scale: Tensor) -> None:
        """Remember by what losses are multiplied."""
        self._passes.scales.multiplied(losses, scale)

    @harmless
    def divided(self, optimizer: Any) -> None:
        """Remember whose gradients are as they would be without."""
        self._passes.scales.divided(parameters_of(optimizer))

    @harmless
    def asked_to_step(self, optimizer: Optimizer) -> None:
        """Wait for the step."""
        self._asked = optimizer

    @harmless
    def has_been_asked(self, optimizer: Optimizer) -> None:
        """Drop what a step that was not made has left."""
        if self._asked is optimizer and self._is_ours(optimizer):
            self._skip()
        self._asked = None
