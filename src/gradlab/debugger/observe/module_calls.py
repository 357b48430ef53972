"""Records calls of modules: their class, their mode and their inputs."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._pytree import tree_leaves

from gradlab.debugger.observe.autograd_graph import GraphMarks
from gradlab.debugger.observe.events import ModelInput
from gradlab.debugger.observe.source_lines import SourceLine, current_line
from gradlab.debugger.observe.trace import CalledModule, EventLog

MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Intervention:
    """The change of an experiment.

    Attributes:
        lr: a factor of all learning rates.
        standardised: whether the model's inputs are standardised to zero mean and unit variance.
        gain: the upper bound of rms(W)·√fan_in at the first step; larger weights are shrunk.
    """

    lr: float = 1.0
    standardised: bool = False
    gain: float | None = None


class ModuleCalls:
    """Records the calls of all modules.

    Args:
        log: the log of events.
        marks: the marks of graphs in memory.
        intervention: the change of an experiment.
    """

    def __init__(self, log: EventLog, marks: GraphMarks, intervention: Intervention) -> None:
        self.log, self.marks, self.intervention = log, marks, intervention
        self.stack: list[nn.Module] = []
        self.outermost: dict[int, nn.Module] = {}
        self.called: dict[int, tuple[nn.Module, CalledModule]] = {}
        self.eval_line: SourceLine | None = None
        self.modes: dict[int, bool] = {}  # by `id`: in training mode since the last backward pass

    @contextmanager
    def observed(self) -> Generator[None]:
        """Record all calls of modules inside."""
        handles = (
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def innermost(self) -> tuple[int, str]:
        """Return the `id` and the class of the innermost module that is running."""
        module = self.stack[-1] if self.stack else None
        return id(module), type(module).__name__ if module is not None else ""

    @property
    def in_network(self) -> bool:
        """Whether a module with parameters is running."""
        return bool(self.stack) and any(True for _ in self.stack[0].parameters())

    def in_eval(self, learning: frozenset[int]) -> tuple[str, ...]:
        """Return the modules whose mode matters, if all trained modules are in evaluation mode.

        Args:
            learning: the `id`s of the weights that get a gradient and are in an optimiser.

        Returns:
            The classes of these modules; empty if a trained module is in training mode.
        """
        modes, self.modes = self.modes, {}
        called = [(self.called[key][1], training) for key, training in modes.items()]
        relevant = [
            (c, training) for c, training in called if c.mode_matters or c.weights & learning
        ]
        if any(training for _, training in relevant):
            return ()
        if not any(c.weights & learning for c, _ in relevant):
            return ()
        return tuple(c.kind for c, _ in relevant if c.mode_matters)

    def eval(self, original: Callable[..., Any], module: nn.Module) -> nn.Module:
        """Call `eval` of a module, and store the line."""
        self.eval_line = current_line()
        return original(module)

    def shrink(self, weight: Tensor, fan_in: int) -> None:
        """Shrink a weight before its first use, if the intervention has a bound."""
        if self.log.step == 0 and self.intervention.gain is not None:
            with self.log.pause():
                _shrink(weight, fan_in, self.intervention.gain)

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if self.log.paused:
            return None
        is_outermost = not self.stack and any(True for _ in module.parameters())
        self.stack.append(module)
        with self.log.pause():
            line = current_line()
            self._record(module, line)
            if not is_outermost:
                return None
            self.outermost.setdefault(id(module), module)
            if self.intervention.gain is not None:
                for w in module.parameters():
                    if w.ndim >= 2:
                        self.shrink(w, w[0].numel())
            return self._inputs(args, line)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Mark the graphs of an outermost module's output.

        Args:
            module: the module.
            args: its arguments.
            output: its output.
        """
        if self.stack and self.stack[-1] is module:
            self.stack.pop()
            if not self.stack and not self.log.paused:
                self.marks.put(self.log.step, current_line(), *tree_leaves(output))

    def _record(self, module: nn.Module, line: SourceLine) -> None:
        if id(module) not in self.called:
            kind = type(module)
            called = CalledModule(
                kind=kind.__name__,
                line=line,
                weights=frozenset(id(w) for w in module.parameters(recurse=False)),
                mode_matters=isinstance(module, MODAL) and getattr(module, "p", 1) > 0,
                is_layer=kind.__module__.startswith("torch.nn.") and kind is not nn.Embedding,
            )
            self.called[id(module)] = module, called
        self.called[id(module)][1].grad_modes.add(torch.is_grad_enabled())
        if torch.is_grad_enabled():
            self.modes[id(module)] = self.modes.get(id(module), False) or module.training

    def _inputs(self, args: tuple[Any, ...], line: SourceLine) -> tuple[Any, ...] | None:
        """Record the inputs of an outermost module; standardise them if the intervention does."""
        inputs = [*args]
        for i, x in enumerate(args):
            if not isinstance(x, Tensor) or not x.is_floating_point() or x.requires_grad:
                continue
            if x.ndim < 2 or len(x) < 2 or x.layout != torch.strided or x.is_nested:
                continue
            rms = float(x.double().square().mean().sqrt())
            self.log.add(ModelInput(line=line, step=self.log.step, rms=rms))
            if self.intervention.standardised:
                inputs[i] = _standardised(x)
        return tuple(inputs) if self.intervention.standardised else None


def _standardised(x: Tensor) -> Tensor:
    """Return x with zero mean and unit variance: for each feature of a matrix, else overall."""
    over = 0 if x.ndim == 2 else tuple(range(x.ndim))
    mean, std = x.mean(over, keepdim=True), x.std(over, keepdim=True)
    return torch.where(std > 0, (x - mean) / std.clamp(min=1e-12), torch.zeros_like(x))


def _shrink(weight: Tensor, fan_in: int, most: float) -> None:
    """Shrink a weight to a gain.

    Args:
        weight: the weight, changed in place.
        fan_in: its number of inputs.
        most: the upper bound of rms(W)·√fan_in.
    """
    with torch.no_grad():
        gain = float(weight.double().square().mean().sqrt()) * fan_in**0.5
        weight.mul_(min(1.0, most / gain) if gain else 1.0)
