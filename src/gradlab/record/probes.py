"""Probes that see every signal of a network, forward and backward, and leave no trace.

A probe is a tensor hook on a module's output (or, for a linear map, on an alias of its input),
never a full backward hook. Inside `torch.func.vmap` a tensor cannot be hooked; there the probe
passes through `Door`, whose `vmap` method is handed the physical tensor with the member axis in
front, and hooks that. The same tensors come out either way: [M, B, U] (member, batch, unit).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.nets.layer import Layer
from gradlab.record.slopes import steepest_slope

Visit = Callable[[Tensor], Tensor]


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

    `stacked` says whether the model runs under vmap. On leaving, all hooks are gone.
    """

    def __init__(self, sites: Sequence[Site], stacked: bool) -> None:
        self.sites = sites
        self.stacked = stacked
        self.signals: list[Signals] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "Probes":
        self.signals = [Signals() for _ in self.sites]
        for site, signals in zip(self.sites, self.signals, strict=True):
            self._attach(site.layer, signals)
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

    def _attach(self, layer: Layer, signals: Signals) -> None:
        self._on_input(layer.linear, self._visit(signals, grad="back", alias=True))
        # An in-place activation would overwrite the value that was kept of its input.
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_output(layer.linear, self._visit(signals, "preact", "delta", copy=copy))
        before = layer.norm is not None and layer.norm_position == "before"
        after = layer.norm is not None and layer.norm_position == "after"
        if before and layer.norm is not None:
            self._on_output(layer.norm, self._visit(signals, "preact", "preact_grad", copy=copy))
        if layer.activation is not None:
            self._on_output(layer.activation, self._visit(signals, "act", "act_grad"))
        if after and layer.norm is not None:
            self._on_output(layer.norm, self._visit(signals, grad="out_grad"))

    def _visit(
        self,
        signals: Signals,
        value: str = "",
        grad: str = "",
        *,
        alias: bool = False,
        copy: bool = False,
    ) -> Visit:
        def keep(name: str, x: Tensor) -> None:
            setattr(signals, name, x.detach() if self.stacked else x.detach()[None])

        def visit(x: Tensor) -> Tensor:
            if alias:  # so that the gradient is this map's alone, and exists at the input too
                x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            if value:
                keep(value, x.clone() if copy else x)
            x.register_hook(lambda g: keep(grad, g))
            return x

        return visit

    def _on_input(self, module: nn.Module, visit: Visit) -> None:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            return (Door.apply(inputs[0], visit) if self.stacked else visit(inputs[0]),)  # pyright: ignore[reportReturnType]

        self._handles.append(module.register_forward_pre_hook(hook))

    def _on_output(self, module: nn.Module, visit: Visit) -> None:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return Door.apply(output, visit) if self.stacked else visit(output)  # pyright: ignore[reportReturnType]

        self._handles.append(module.register_forward_hook(hook))
