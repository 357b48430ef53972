"""Probes that read every signal of a network, forward and backward, without changing it.

A probe is a tensor hook on a module's output (or, for a linear map, on an alias of its input),
never a full backward hook. Inside `torch.func.vmap` a module's output represents one
member; the hook is on the tensor of all members. The result has the same shape with and without
vmap: [M, B, U] (member, sample, unit), where the positions of an image and the steps of a sequence
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
from gradlab.recording.modules import RecordedModule

Visit = Callable[[Tensor], Tensor]
Hook = Callable[..., Any]


@dataclass
class Signals:
    """The signals of one forward and backward pass at one module; every tensor is [M, B, U].

    Each member's gradients are of its loss, a mean over the batch.
    """

    preact: Tensor | None = None  # u_l
    act: Tensor | None = None  # a_l
    before: Tensor | None = None  # h_{t-1}, of a step in time
    back: Tensor | None = None  # W_l^T delta_l: the gradient through this map (or cell) alone
    delta: Tensor | None = None  # dLoss/dz_l
    preact_grad: Tensor | None = None  # dLoss/du_l
    act_grad: Tensor | None = None  # dLoss/da_l
    out_grad: Tensor | None = None  # dLoss/dh_l


class AllMembers(torch.autograd.Function):
    """The identity; inside vmap it calls `visit` with the tensor of all members.

    It costs a tenth of a millisecond, so it is used only where `unwrapped` returns None.
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
        """Call `visit` with the tensor of all members, their axis first."""
        return visit(x.movedim(in_dims[0], 0)), 0


def unwrapped(x: Tensor) -> Tensor | None:
    """Return the tensor of all members behind `x` inside vmap; None if their axis is not the first.

    Until vmap has returned, read it only: computing with it fails.
    """
    return get_unwrapped(x) if maybe_get_bdim(x) == 0 else None


class TimeSteps:
    """Counts the time steps of a recurrent layer during a forward pass.

    Args:
        indices: Of the layer's recorded time steps, in order.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices, self.step = indices, -1

    def begin(self, *_: object) -> None:
        """Begin a pass."""
        self.step = -1

    def next(self, *_: object) -> None:
        """Begin a step."""
        self.step += 1

    def __call__(self) -> int:
        """Return the index of the current time step."""
        return self.indices[self.step]


class Probes:
    """A context manager in which every pass through the model fills `signals`.

    On exit all hooks are removed. It can be entered again.

    Args:
        modules: The modules to record.
        stacked: Whether the model runs under vmap.

    Attributes:
        signals: Of each module, in the same order.
    """

    def __init__(self, modules: Sequence[RecordedModule], stacked: bool) -> None:
        self.modules = modules
        self.stacked = stacked
        self.signals: list[Signals] = []
        self._hooks: list[tuple[Callable[[Hook], RemovableHandle], Hook]] = []
        self._handles: list[RemovableHandle] = []
        for index, module in enumerate(modules):
            if module.below is not None:
                self._plan_block(index, module.below, module.module)
            elif module.axis == "depth":
                self._plan(index, module)

    def __enter__(self) -> "Probes":
        self.signals = [Signals() for _ in self.modules]
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

    def _plan(self, index: int, whole: RecordedModule) -> None:
        layer = whole.layer
        self._on_input(layer.linear, self._visit(index, "", "back"))
        if isinstance(layer, Recurrent):
            self._on_output(layer.linear, self._visit(index, "", "delta"))
            self._plan_steps(whole.name, layer)
            return
        # An in-place activation would overwrite its stored input, so it receives a copy.
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_output(layer.linear, self._visit(index, "preact", "delta"), copy)
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(index, "preact", "preact_grad"), copy)
        if layer.activation is not None:
            self._on_output(layer.activation, self._visit(index, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(index, "", "out_grad"))

    def _plan_steps(self, name: str, layer: Recurrent) -> None:
        steps = self._time_steps("time", name, layer)
        self._on_input(layer.recurrent, self._visit(steps, "before", "back"))
        self._on_output(layer.recurrent, self._visit(steps, "", "delta"))
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(steps, "", "preact_grad"))
        assert layer.activation is not None
        self._before(layer.activation, self._visit(steps, "preact", ""))
        self._on_output(layer.activation, self._visit(steps, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(steps, "", "out_grad"))
        if isinstance(layer.activation, Gates):
            steps, cell = self._time_steps("cell", name, layer), layer.activation.cell
            self._on_input(cell, self._visit(steps, "", "back"))
            self._on_output(cell, self._visit(steps, "act", "act_grad"))

    def _time_steps(self, axis: str, name: str, layer: Recurrent) -> TimeSteps:
        modules = enumerate(self.modules)
        steps = TimeSteps([i for i, m in modules if (m.axis, m.name) == (axis, name)])
        self._hooks.append((layer.register_forward_pre_hook, steps.begin))
        self._hooks.append((layer.recurrent.register_forward_pre_hook, steps.next))
        return steps

    def _plan_block(self, index: int, below: nn.Module, above: nn.Module) -> None:
        self._on_output(below, self._visit(index, "", "back"))
        self._on_output(above, self._visit(index, "act", "act_grad"))

    def _visit(self, module: int | TimeSteps, value: str, grad: str) -> Visit:
        """Return a function that stores a tensor now, and its gradient in the backward pass."""

        def store(signals: Signals, name: str, x: Tensor) -> None:
            setattr(signals, name, x if self.stacked else x[None])

        def visit(x: Tensor) -> Tensor:
            signals = self.signals[module if isinstance(module, int) else module()]
            if value:
                store(signals, value, x)
            if grad:
                x.register_hook(partial(store, signals, grad))
            return x

        return visit

    def _on_input(self, module: nn.Module, visit: Visit) -> None:
        def visit_leaf(x: Tensor) -> Tensor:
            return visit(x.detach().requires_grad_())

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            x, *others = inputs
            seen = unwrapped(x) if self.stacked else x
            if seen is not None and seen.requires_grad:
                # An alias, so that the gradient is this map's alone.
                return (self._show(x.view_as(x), visit), *others)
            return (AllMembers.apply(x, visit_leaf) if self.stacked else visit_leaf(x), *others)

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
        """Call `visit` with the tensor of all members; return the tensor for the network."""
        seen = unwrapped(x) if self.stacked else x
        if seen is None:
            return AllMembers.apply(x, visit)
        visit(seen)
        return x


def _flat(x: Tensor) -> Tensor:
    """Return [M, B, ..., U] with all samples on one axis."""
    return x.flatten(1, -2) if x.ndim > 3 else x
