"""Probes read every signal of a network, forward and backward, without changing it.

A probe is a tensor hook on a module's output or, for a linear map, on an alias of its input; it is
never a full backward hook. Inside `torch.func.vmap`, a module's output is the output of one member,
but the hook is on the tensor of all members.

Signals have the shape [M, B, U] (member, sample, unit) with and without vmap. Positions of an image
and steps of a sequence count as samples.
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

    The gradients are of each member's loss, a mean over the batch.
    """

    preact: Tensor | None = None  # u_l
    act: Tensor | None = None  # a_l
    before: Tensor | None = None  # h_{t-1}, for a time step
    back: Tensor | None = None  # W_l^T delta_l, the gradient through this map (or cell) only
    delta: Tensor | None = None  # dLoss/dz_l
    preact_grad: Tensor | None = None  # dLoss/du_l
    act_grad: Tensor | None = None  # dLoss/da_l
    out_grad: Tensor | None = None  # dLoss/dh_l


class AllMembers(torch.autograd.Function):
    """The identity function; inside vmap it calls `visit` with the tensor of all members.

    It takes a tenth of a millisecond, so it is used only where `unwrapped` returns None.
    """

    @staticmethod
    def forward(x: Tensor, visit: Visit) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `visit(x)`."""
        return visit(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing.

        Args:
            ctx: Context of the backward pass.
            inputs: Inputs of `forward`.
            output: Output of `forward`.
        """

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: Any, x: Tensor, visit: Visit
    ) -> tuple[Tensor, int]:
        """Call `visit` with the tensor of all members, with the member axis first.

        Args:
            info: Size and randomness of the vmap; not used.
            in_dims: Position of the member axis in each input.
            x: Tensor of all members.
            visit: The visitor.

        Returns:
            The result of `visit`, and 0, the position of its member axis.
        """
        return visit(x.movedim(in_dims[0], 0)), 0


def unwrapped(x: Tensor) -> Tensor | None:
    """Return the tensor of all members for `x` inside vmap; None if the member axis is not first.

    Until vmap returns, this tensor must not be used in computations.
    """
    return get_unwrapped(x) if maybe_get_bdim(x) == 0 else None


class TimeSteps:
    """Counts the time steps of a recurrent layer during a forward pass.

    Args:
        indices: Indices of the layer's recorded time steps among the modules, in order.
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
    """A context manager that stores the signals of every pass through the model in `signals`.

    It removes all hooks on exit, and can be entered again.

    Args:
        modules: The modules to record.
        stacked: Whether the model runs under vmap.

    Attributes:
        signals: The signals of each module, in the order of `modules`.
    """

    def __init__(self, modules: Sequence[RecordedModule], stacked: bool) -> None:
        self.modules = modules
        self.stacked = stacked
        self.signals: list[Signals] = []
        self._hooks: list[tuple[Callable[[Hook], RemovableHandle], Hook]] = []
        self._handles: list[RemovableHandle] = []
        for index, module in enumerate(modules):
            if module.below is not None:
                self._on_output(module.below, self._visit(index, "", "back"))
                self._on_output(module.module, self._visit(index, "act", "act_grad"))
            elif module.axis == "depth":
                self._plan_layer(index, module)

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
        for signals in self.signals:  # detach, to free the autograd graph
            for name, x in vars(signals).items():
                setattr(signals, name, None if x is None else _flat(x.detach()))

    def _plan_layer(self, index: int, module: RecordedModule) -> None:
        layer = module.layer
        self._on_input(layer.linear, self._visit(index, "", "back"))
        if isinstance(layer, Recurrent):
            self._on_output(layer.linear, self._visit(index, "", "delta"))
            self._plan_steps(module.name, layer)
            return
        # An in-place activation gets a copy, because it would overwrite its stored input.
        copy = bool(getattr(layer.activation, "inplace", False))
        self._on_output(layer.linear, self._visit(index, "preact", "delta"), copy)
        if layer.norm is not None and layer.norm_position == "before":
            self._on_output(layer.norm, self._visit(index, "preact", "preact_grad"), copy)
        if layer.activation is not None:
            self._on_output(layer.activation, self._visit(index, "act", "act_grad"))
        if layer.norm is not None and layer.norm_position == "after":
            self._on_output(layer.norm, self._visit(index, "", "out_grad"))

    def _plan_steps(self, name: str, layer: Recurrent) -> None:
        steps = self._count_steps("time", name, layer)
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
            steps, cell = self._count_steps("cell", name, layer), layer.activation.cell
            self._on_input(cell, self._visit(steps, "", "back"))
            self._on_output(cell, self._visit(steps, "act", "act_grad"))

    def _count_steps(self, axis: str, name: str, layer: Recurrent) -> TimeSteps:
        """Add hooks that count the time steps of a recurrent layer.

        Args:
            axis: "time" or "cell".
            name: Dotted name of the layer.
            layer: The layer.

        Returns:
            The counter.
        """
        modules = enumerate(self.modules)
        steps = TimeSteps([i for i, m in modules if (m.axis, m.name) == (axis, name)])
        self._hooks.append((layer.register_forward_pre_hook, steps.begin))
        self._hooks.append((layer.recurrent.register_forward_pre_hook, steps.next))
        return steps

    def _visit(self, module: int | TimeSteps, value: str, grad: str) -> Visit:
        """Make a visitor that stores a tensor, and later its gradient, in the signals of a module.

        Args:
            module: Index of the module, or a counter that returns it.
            value: Attribute of `Signals` for the tensor; empty to store none.
            grad: Attribute of `Signals` for the gradient; empty to store none.

        Returns:
            The visitor, which returns its argument.
        """

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
            whole = unwrapped(x) if self.stacked else x
            if whole is not None and whole.requires_grad:
                # An alias, so that the gradient comes through this map only.
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
        """Visit the output of a module in every pass.

        Args:
            module: The module.
            visit: The visitor.
            copy: Whether the next module gets a copy of the output.
        """

        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):  # h_t and c_t
                return (self._show(output[0], visit), *output[1:])
            shown = self._show(output, visit)
            return shown.clone() if copy else shown

        self._hooks.append((module.register_forward_hook, hook))

    def _show(self, x: Tensor, visit: Visit) -> Tensor:
        """Call `visit` with the tensor of all members; return the tensor for the network."""
        whole = unwrapped(x) if self.stacked else x
        if whole is None:
            return AllMembers.apply(x, visit)
        visit(whole)
        return x


def _flat(x: Tensor) -> Tensor:
    """Reshape [M, B, ..., U] to [M, samples, U]."""
    return x.flatten(1, -2) if x.ndim > 3 else x
