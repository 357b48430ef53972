"""Probes that see every signal of a network, forward and backward, and leave no trace.

A probe is a tensor hook on a module's output (or, for a linear map, on an alias of its input),
never a full backward hook. Inside `torch.func.vmap` the tensor that a module hands on stands for
one member; the hook is on the tensor of all members beneath it. The same tensors come out either
way: [M, B, U] (member, sample, unit), where the positions of an image and the steps of a sequence
are samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, maybe_get_bdim
from torch.utils.hooks import RemovableHandle

from gradlab.models.rnn import Gates, Recurrent
from gradlab.recording.modules import Site

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
    back: Tensor | None = None  # W_l^T delta_l: the gradient through this map (or cell) alone
    delta: Tensor | None = None  # dLoss/dz_l
    preact_grad: Tensor | None = None  # dLoss/du_l
    act_grad: Tensor | None = None  # dLoss/da_l
    out_grad: Tensor | None = None  # dLoss/dh_l


class Door(torch.autograd.Function):
    """The identity, as a way out of vmap: `visit` is called with the tensor of all members.

    It takes a tenth of a millisecond: for what `beneath` cannot do.
    """

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


def beneath(x: Tensor) -> Tensor | None:
    """Return the tensor of all members that `x` stands for under vmap, if their axis is its first.

    It is to be looked at, not to be calculated with, until vmap has returned.
    """
    return get_unwrapped(x) if maybe_get_bdim(x) == 0 else None


class Turns:
    """Which step of a recurrent layer is being made: its sites, one after another."""

    def __init__(self, sites: Sequence[int]) -> None:
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
            if site.below is not None:
                self._plan_block(index, site.below, site.module)
            elif site.axis == "depth":
                self._plan(index, site)

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
        for signals in self.signals:  # lest they hold the graph
            for name, x in vars(signals).items():
                setattr(signals, name, None if x is None else _flat(x.detach()))

    def _plan(self, index: int, site: Site) -> None:
        layer = site.layer
        self._on_input(layer.linear, self._visit(index, "", "back"))
        if isinstance(layer, Recurrent):
            self._on_output(layer.linear, self._visit(index, "", "delta"))
            self._plan_steps(site, layer)
            return
        # An in-place activation would overwrite what was kept of its input: it is given a copy.
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_output(layer.linear, self._visit(index, "preact", "delta"), copy)
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(index, "preact", "preact_grad"), copy)
        if layer.activation is not None:
            self._on_output(layer.activation, self._visit(index, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(index, "", "out_grad"))

    def _plan_steps(self, whole: Site, layer: Recurrent) -> None:
        turns = self._turns("time", whole.name, layer)
        self._on_input(layer.recurrent, self._visit(turns, "before", "back"))
        self._on_output(layer.recurrent, self._visit(turns, "", "delta"))
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(turns, "", "preact_grad"))
        assert layer.activation is not None
        self._before(layer.activation, self._visit(turns, "preact", ""))
        self._on_output(layer.activation, self._visit(turns, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(turns, "", "out_grad"))
        if isinstance(layer.activation, Gates):
            turns, cell = self._turns("cell", whole.name, layer), layer.activation.cell
            self._on_input(cell, self._visit(turns, "", "back"))
            self._on_output(cell, self._visit(turns, "act", "act_grad"))

    def _turns(self, axis: str, name: str, layer: Recurrent) -> Turns:
        sites = enumerate(self.sites)
        turns = Turns([i for i, s in sites if (s.axis, s.name) == (axis, name)])
        self._hooks.append((layer.register_forward_pre_hook, turns.begin))
        self._hooks.append((layer.recurrent.register_forward_pre_hook, turns.next))
        return turns

    def _plan_block(self, index: int, below: nn.Module, above: nn.Module) -> None:
        self._on_output(below, self._visit(index, "", "back"))
        self._on_output(above, self._visit(index, "act", "act_grad"))

    def _visit(self, site: int | Turns, value: str, grad: str) -> Visit:
        """Return what is done with a tensor: its value is kept now, its gradient when it comes."""

        def keep(signals: Signals, name: str, x: Tensor) -> None:
            setattr(signals, name, x if self.stacked else x[None])

        def visit(x: Tensor) -> Tensor:
            signals = self.signals[site if isinstance(site, int) else site()]
            if value:
                keep(signals, value, x)
            if grad:
                x.register_hook(partial(keep, signals, grad))
            return x

        return visit

    def _on_input(self, module: nn.Module, visit: Visit) -> None:
        def visit_leaf(x: Tensor) -> Tensor:
            return visit(x.detach().requires_grad_())

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            x, *others = inputs
            seen = beneath(x) if self.stacked else x
            if seen is not None and seen.requires_grad:
                # An alias, so that the gradient is this map's alone.
                return (self._show(x.view_as(x), visit), *others)
            return (Door.apply(x, visit_leaf) if self.stacked else visit_leaf(x), *others)

        self._hooks.append((module.register_forward_pre_hook, hook))

    def _before(self, module: nn.Module, visit: Visit) -> None:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            x, *state = inputs
            shown = self._show(x, visit)
            return (shown.clone() if getattr(module, "inplace", False) else shown, *state)

        self._hooks.append((module.register_forward_pre_hook, hook))

    def _on_output(self, module: nn.Module, visit: Visit, copy: bool = False) -> None:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):  # h_t and c_t
                return (self._show(output[0], visit), *output[1:])
            shown = self._show(output, visit)
            return shown.clone() if copy else shown

        self._hooks.append((module.register_forward_hook, hook))

    def _show(self, x: Tensor, visit: Visit) -> Tensor:
        """Show the visitor the tensor of all members; return what the network goes on with."""
        seen = beneath(x) if self.stacked else x
        if seen is None:
            return Door.apply(x, visit)
        visit(seen)
        return x


def _flat(x: Tensor) -> Tensor:
    """Return [M, B, ..., U] with all samples on one axis."""
    return x.flatten(1, -2) if x.ndim > 3 else x
