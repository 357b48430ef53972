"""Probes that see every signal of a network, forward and backward, and leave no trace.

A probe is a tensor hook on a module's output (or, for a linear map, on an alias of its input),
never a full backward hook. Inside `torch.func.vmap` a tensor cannot be hooked; there the probe
passes through `Door`, whose `vmap` method is handed the physical tensor with the member axis in
front, and hooks that. The same tensors come out either way: [M, B, U] (member, batch, unit).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.nets.layer import Layer
from gradlab.record.slopes import steepest_slope

Visit = Callable[[Tensor], Tensor]
Hook = Callable[..., Any]


@dataclass
class Signals:
    """What one forward and backward pass did at one layer; every tensor is [M, B, U].

    Gradients are those of the members' own losses, each a mean over the batch.
    """

    preact: Tensor | None = None  # u_l
    act: Tensor | None = None  # a_l
    back: Tensor | None = None  # W_l^T delta_l: the gradient through this linear map alone
    delta: Tensor | None = None  # dLoss/dz_l
    preact_grad: Tensor | None = None  # dLoss/du_l
    act_grad: Tensor | None = None  # dLoss/da_l
    out_grad: Tensor | None = None  # dLoss/dh_l

    def of(self, members: slice) -> "Signals":
        """Return the same of some members only."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return Signals(**{name: x if x is None else x[members] for name, x in found.items()})


@dataclass(frozen=True)
class Site:
    """A layer under observation.

    Attributes:
        position: its place in the chain, 1 = nearest the input.
        name: dotted, as in `model.named_modules()`.
        layer: the module.
        steepest: the maximum of |phi'| of its activation; 1 if it has none.
    """

    position: int
    name: str
    layer: Layer
    steepest: float


def find_sites(model: nn.Module) -> list[Site]:
    """Return the model's `Layer`s in the order of registration, which is that of the forward."""
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, Layer)]
    steepest: dict[str, float] = {}  # the same activation in every layer is measured once
    sites: list[Site] = []
    for position, (name, layer) in enumerate(layers, start=1):
        kind = repr(layer.activation)
        if kind not in steepest:
            steepest[kind] = 1.0 if layer.activation is None else steepest_slope(layer.activation)
        sites.append(Site(position, name, layer, steepest[kind]))
    return sites


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
            self._plan(index, site.layer)

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

    def _visit(self, index: int, value: str, grad: str, copy: bool = False) -> Visit:
        """Return what is done with a tensor: its value is kept now, its gradient when it comes."""

        def keep(name: str, x: Tensor) -> None:
            setattr(self.signals[index], name, x.detach() if self.stacked else x.detach()[None])

        keep_grad = partial(keep, grad)

        def visit(x: Tensor) -> Tensor:
            if value:
                keep(value, x.clone() if copy else x)
            x.register_hook(keep_grad)
            return x

        return visit

    def _on_input(self, module: nn.Module, visit: Visit) -> None:
        def visit_alias(x: Tensor) -> Tensor:
            # So that the gradient is this map's alone, and exists at the network's input too.
            return visit(x.view_as(x) if x.requires_grad else x.detach().requires_grad_())

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            (x,) = inputs
            return (Door.apply(x, visit_alias) if self.stacked else visit_alias(x),)

        self._hooks.append((module.register_forward_pre_hook, hook))

    def _on_output(self, module: nn.Module, visit: Visit) -> None:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Any:
            return Door.apply(output, visit) if self.stacked else visit(output)

        self._hooks.append((module.register_forward_hook, hook))
