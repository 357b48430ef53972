"""Finds the first non-finite value of a program by checking every operation: slow and independent.

A dispatch mode sees each operation of torch, forward, backward and in the optimiser. It records the
operations with a non-finite result, in order. The first of these operations that the correct twin
does not have too is the first fault: masks with -inf, for example, are in both.
"""

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nonfinite.corpus import Training, prepare

BACKWARD_CALLS = {
    ("torch._tensor", "backward"),
    ("torch.autograd", "backward"),
    ("torch.autograd", "grad"),
}
UNWRITTEN = ("empty", "new_empty", "resize_")  # their results hold any numbers


@dataclass(frozen=True)
class Event:
    """An operation with a non-finite result.

    Attributes:
        phase: `forward`, `backward`, `update`; or `data` if the non-finite argument is not a result
            of an earlier operation of the step.
        operation: the name of the operation, or of the node of the backward pass.
        output: the position of the result among the results of the operation.
        line: the line of the program: for a node, the line of its forward operation.
        step: the update, from 0.
        modules: the innermost module, or for a node the modules that computed at its line.
        sample: the first index of the result, in its first dimension, with a non-finite entry.
    """

    phase: str
    operation: str
    output: int
    line: int
    step: int
    modules: frozenset[str]
    sample: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The operation, its result and its place, without the step."""
        return self.phase, self.operation, self.output, self.line


def plain(name: str) -> str:
    """Return the name of an operation or a node without affixes: `sqrt` for SqrtBackward0."""
    return re.sub(r"backward\d*$", "", name.lower()).replace("_", "")


class Recorder(TorchDispatchMode):
    """Records each operation with a non-finite result.

    Args:
        training: the prepared program, whose `step` is read.
        path: the file of the program.
    """

    def __init__(self, training: Training, path: Path) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.names = training.names
        self.path = str(path)
        self.modules: list[str] = []
        self.modules_at: dict[int, set[str]] = {}
        self.addresses: dict[int, set[int]] = {}
        self.is_updating = False
        self.last_backward = -1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        arguments = [leaf for leaf in tree_leaves((args, kwargs)) if not is_finite(leaf)]
        is_data = bool(arguments) and not any(address(a) in self._addresses() for a in arguments)
        result = func(*args, **kwargs or {})
        name = func._schema.name.partition("::")[2]
        is_written = not name.startswith(UNWRITTEN)
        node = torch._C._current_autograd_node()
        line = self._line()
        if node is not None:
            self.last_backward = self.names["step"]
        elif line:
            self.modules_at.setdefault(line, set()).add(self.module)
        if node is not None and not line:
            line, name = self._line_of_node(node), node.name()
        for output, value in enumerate(tree_leaves(result)):
            if is_written and not is_finite(value):
                self._addresses().add(address(value))
                phase = "data" if is_data else self._phase(node)
                at = self.modules_at.get(line, {"none"}) if node else {self.module}
                self.events.append(
                    Event(
                        phase,
                        plain(name),
                        output,
                        line,
                        self.names["step"],
                        frozenset(at),
                        first_sample(value),
                    )
                )
        return result

    def _phase(self, node: Any) -> str:
        """Return the part of the step; `node` is the node of the backward pass that computes."""
        after_backward = self.last_backward == self.names["step"] and not torch.is_grad_enabled()
        is_update = self.is_updating or after_backward
        return "backward" if node else "update" if is_update else "forward"

    def _addresses(self) -> set[int]:
        """Return where the non-finite results of this step are in memory."""
        step = self.names["step"]
        if step not in self.addresses:
            self.addresses = {step: set()}
        return self.addresses[step]

    @property
    def module(self) -> str:
        """The module that computes now, `none` outside of modules."""
        return self.modules[-1] if self.modules else "none"

    def _line(self) -> int:
        """Return the line of the program that computes now; 0 if the backward pass computes."""
        frame, inner = sys._getframe(2), None
        while frame is not None and frame.f_code.co_filename != self.path:
            inner, frame = frame, frame.f_back
        called = (inner.f_globals["__name__"], inner.f_code.co_name) if inner else ("", "")
        return 0 if frame is None or called in BACKWARD_CALLS else frame.f_lineno

    def _line_of_node(self, node: Any) -> int:
        """Return the line that made a node; 0 if it is unknown."""
        trace = "".join(node.metadata.get("traceback_", []))
        lines = re.findall(rf'File "{re.escape(self.path)}", line (\d+)', trace)
        return int(lines[-1]) if lines else 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Observe the operations, the modules and the updates."""
        model = self.names.get("model")
        named = model.named_modules() if isinstance(model, nn.Module) else ()
        names = {module: name or "root" for name, module in named}
        handles = [
            hooks.register_module_forward_pre_hook(
                lambda module, _: self.modules.append(names.get(module, self.module))
            ),
            hooks.register_module_forward_hook(
                lambda *_: (self.modules.pop(), None)[1], always_call=True
            ),
            register_optimizer_step_pre_hook(lambda *_: setattr(self, "is_updating", True)),
            register_optimizer_step_post_hook(lambda *_: setattr(self, "is_updating", False)),
        ]
        try:
            with torch.autograd.set_detect_anomaly(True, check_nan=False), self:
                yield
        finally:
            for handle in handles:
                handle.remove()


def is_finite(value: Any) -> bool:
    """Return whether a value has no NaN and no infinite entry; True if it is not a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, torch.Tensor) or not (value.is_floating_point() or value.is_complex()):
        return True
    return bool(value.detach().isfinite().all())


def address(value: Any) -> int:
    """Return where a tensor is in memory; 0 for a number."""
    return value.untyped_storage().data_ptr() if isinstance(value, torch.Tensor) else 0


def first_sample(value: Any) -> int:
    """Return the first index in the first dimension with a non-finite entry; 0 for a scalar."""
    if not isinstance(value, torch.Tensor) or not value.dim():
        return 0
    finite = value.detach().isfinite().reshape(len(value), -1).all(1)
    return int(finite.long().argmin())


@dataclass(frozen=True)
class Outcome:
    """A training that the oracle has observed.

    Attributes:
        events: the operations with a non-finite result, in their order.
        losses: the loss of each step, up to the end or to an error of torch.linalg.
        is_sound: whether the training came to its end, and all losses and parameters are finite.
    """

    events: list[Event]
    losses: list[float]
    is_sound: bool


def observe(path: Path) -> Outcome:
    """Run a program and check each of its operations.

    Args:
        path: the file of the program, without marks.

    Returns:
        The outcome.
    """
    training = prepare(path)
    recorder = Recorder(training, path)
    is_complete = False
    with recorder.active(), suppress(torch.linalg.LinAlgError):  # of a matrix with NaN
        training.run()
        is_complete = True
    losses, parameters = training.names["losses"], training.names["model"].parameters()
    is_finite_throughout = all(map(math.isfinite, losses)) and all(map(is_finite, parameters))
    return Outcome(recorder.events, losses, is_complete and is_finite_throughout)


def first_fault(events: list[Event], twin: list[Event]) -> Event | None:
    """Return the first event of a program that its correct twin does not have too.

    Args:
        events: the events of the program, in their order.
        twin: the events of the twin.
    """
    ordinary = {event.key for event in twin}
    return next((event for event in events if event.key not in ordinary), None)
