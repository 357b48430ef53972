"""Probes that see every signal of a network, forward and backward, and leave no trace.

A probe is a tensor hook on a module's output (or, for a linear map, on an alias of its input),
never a full backward hook. Inside `torch.func.vmap` a tensor cannot be hooked; there the probe
passes through `Door`, whose `vmap` method is handed the physical tensor with the member axis in
front, and hooks that. The same tensors come out either way: [M, B, U] (member, sample, unit), where
the positions of an image and the steps of a sequence are samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.nets.layer import Layer
from gradlab.nets.rnn import Recurrent
from gradlab.record.sites import Site

Visit = Callable[[Tensor], Tensor]
Hook = Callable[..., Any]


@dataclass
class Signals:
    """What one forward and backward pass did at one site; every tensor is [M, B, U].

    Gradients are those of the members' own losses, each a mean over the batch.
    """

    preact: Tensor | None = None  # u_l
    act: Tensor | None = None  # a_l
    before: Tensor | None = None  # h_{t-1}, of a step in time
    back: Tensor | None = None  # W_l^T delta_l: the gradient through this map alone
    delta: Tensor | None = None  # dLoss/dz_l
    preact_grad: Tensor | None = None  # dLoss/du_l
    act_grad: Tensor | None = None  # dLoss/da_l
    out_grad: Tensor | None = None  # dLoss/dh_l


class Door(torch.autograd.Function):
    """The identity, as a way out of vmap: `visit` is called with the tensor of all members."""

    @staticmethod
    def forward(x: Tensor, visit: Visit) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Pass `x` on; only `vmap` is ever called with a real visitor."""
        return visit(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing."""

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: Any, x: Tensor, visit: Visit
    ) -> tuple[Tensor, int]:
        """Show the physical tensor, member axis in front, to the visitor."""
        return visit(x.movedim(in_dims[0], 0)), 0


class Turns:
    """Which step of a recurrent layer is being made: its sites, one after another."""

    def __init__(self, sites: list[int]) -> None:
        self.sites, self.step = sites, -1

    def begin(self, *_: object) -> None:
        """Begin a pass."""
        self.step = -1

    def next(self, *_: object) -> None:
        """Begin a step."""
        self.step += 1

    def __call__(self) -> int:
        """Return the index of the site."""
        return self.sites[self.step]


class Probes:
    """A context manager: while it is open, every pass through the model fills `signals`.

    `stacked` says whether the model runs under vmap. On leaving, all hooks are gone; it can be
    opened again.
    """

    def __init__(self, sites: Sequence[Site], stacked: bool) -> None:
        self.sites = sites
        self.stacked = stacked
        self.signals: list[Signals] = []
        self._hooks: list[tuple[Callable[[Hook], RemovableHandle], Hook]] = []
        self._handles: list[RemovableHandle] = []
        for index, site in enumerate(sites):
            if site.axis == "depth" and not isinstance(site.module, Recurrent):
                self._plan(index, site.layer)
        self._plan_recurrent()
        self._plan_blocks()

    def __enter__(self) -> "Probes":
        self.signals = [Signals() for _ in self.sites]
        self._handles = [register(hook) for register, hook in self._hooks]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _plan(self, index: int, layer: Layer) -> None:
        self._on_input(layer.linear, self._visit(index, "", "back"))
        # An in-place activation would overwrite the value that was kept of its input.
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_output(layer.linear, self._visit(index, "preact", "delta", copy))
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(index, "preact", "preact_grad", copy))
        if layer.activation is not None:
            self._on_output(layer.activation, self._visit(index, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(index, "", "out_grad"))

    def _plan_recurrent(self) -> None:
        """Watch the map of the inputs once, and what is done at each step, step by step."""
        for index, site in enumerate(self.sites):
            layer = site.module
            if site.axis != "depth" or not isinstance(layer, Recurrent):
                continue
            steps = [
                i for i, s in enumerate(self.sites) if s.axis == "time" and s.name == site.name
            ]
            turns = Turns(steps)
            self._hooks.append((layer.register_forward_pre_hook, turns.begin))
            self._on_input(layer.linear, self._visit(index, "", "back"))
            self._on_output(layer.linear, self._visit(index, "", "delta"))
            self._hooks.append((layer.recurrent.register_forward_pre_hook, turns.next))
            self._on_input(layer.recurrent, self._visit(turns, "before", "back"))
            self._on_output(layer.recurrent, self._visit(turns, "", "delta"))
            self._plan_step(turns, layer)

    def _plan_step(self, turns: Turns, layer: Recurrent) -> None:
        assert layer.activation is not None
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(turns, "", "preact_grad"))
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_input(layer.activation, self._visit(turns, "preact", "", copy))
        self._on_output(layer.activation, self._visit(turns, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(turns, "", "out_grad"))

    def _plan_blocks(self) -> None:
        """Watch what enters each block, and what leaves it."""
        for index, site in enumerate(self.sites):
            if site.below is not None:
                self._on_output(site.below, self._visit(index, "", "back"))
                self._on_output(site.module, self._visit(index, "act", "act_grad"))

    def _visit(self, site: int | Turns, value: str, grad: str, copy: bool = False) -> Visit:
        """Return what is done with a tensor: its value is kept now, its gradient when it comes."""

        def keep(signals: Signals, name: str, x: Tensor) -> None:
            x = x.detach() if self.stacked else x.detach()[None]
            setattr(signals, name, x.flatten(1, -2) if x.ndim > 3 else x)

        def visit(x: Tensor) -> Tensor:
            signals = self.signals[site if isinstance(site, int) else site()]
            if value:
                keep(signals, value, x.clone() if copy else x)
            if grad:
                x.register_hook(partial(keep, signals, grad))
            return x

        return visit

    def _on_input(self, module: nn.Module, visit: Visit) -> None:
        def visit_alias(x: Tensor) -> Tensor:
            # So that the gradient is this map's alone, and exists at the network's input too.
            return visit(x.view_as(x) if x.requires_grad else x.detach().requires_grad_())

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            x, *others = inputs
            return (Door.apply(x, visit_alias) if self.stacked else visit_alias(x), *others)

        self._hooks.append((module.register_forward_pre_hook, hook))

    def _on_output(self, module: nn.Module, visit: Visit) -> None:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            x, *others = output if isinstance(output, tuple) else (output,)
            seen = Door.apply(x, visit) if self.stacked else visit(x)
            return (seen, *others) if isinstance(output, tuple) else seen

        self._hooks.append((module.register_forward_hook, hook))
