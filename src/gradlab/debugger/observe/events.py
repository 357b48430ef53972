"""The events of a training: records of observations, which the rules read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradlab.debugger.observe.fingerprints import Fingerprints
from gradlab.debugger.observe.source_lines import SourceLine


@dataclass(frozen=True, kw_only=True)
class Event:
    """An action of the user's code.

    Attributes:
        line: the line of the user's code.
        step: the number of optimiser steps before it.
    """

    line: SourceLine
    step: int


@dataclass(frozen=True)
class LossTerm:
    """A scalar from which the loss is computed: a mean or a sum over samples.

    Attributes:
        is_mean: whether it is a mean.
        samples: the number of samples.
        derivative: the derivative of the loss by the scalar.
        line: the line that computed the scalar.
    """

    is_mean: bool
    samples: int
    derivative: float
    line: SourceLine | None = None


@dataclass(frozen=True, kw_only=True)
class BackwardPass(Event):
    """A backward pass.

    Attributes:
        value: the loss.
        reaches: the `id`s of the leaves that get a gradient.
        before, after: all gradients before and after the pass.
        lines: the running lines of the user's code, the innermost first.
        retained: whether the graph is retained for another pass.
        terms: the means and sums in the graph of the loss.
        in_eval: the classes of modules that behave differently in evaluation mode; empty unless all
            trained modules are in that mode.
        eval_line: the line of the last call of `eval`.
    """

    value: float
    reaches: frozenset[int]
    before: Fingerprints
    after: Fingerprints
    lines: tuple[SourceLine, ...] = ()
    retained: bool = False
    terms: tuple[LossTerm, ...] = ()
    in_eval: tuple[str, ...] = ()
    eval_line: SourceLine | None = None


@dataclass(frozen=True, kw_only=True)
class GradientClip(Event):
    """A call of a clipping function of torch, or a clamp of a gradient.

    Attributes:
        name: the function.
        before, after: all gradients before and after the call.
    """

    name: str
    before: Fingerprints
    after: Fingerprints


@dataclass(frozen=True, kw_only=True)
class Unscale(Event):
    """`GradScaler.unscale_`, called by the user or by `GradScaler.step`."""

    optimizer: int


@dataclass(frozen=True, kw_only=True)
class ScalerStep(Event):
    """`GradScaler.step`, whether or not the optimiser then steps."""

    optimizer: int


@dataclass(frozen=True, kw_only=True)
class OptimizerStep(Event):
    """`optimizer.step`.

    Attributes:
        optimizer: the `id` of the optimiser.
        rule: its class.
        lr: its largest learning rate.
        momentum: the momentum of its first group.
        weights: the `id`s of its weights.
        before, after: all gradients before and after the step.
        distance: the norm of the update of all its weights.
        idle: for weights without a gradient or without an optimiser, the sum of their entries.
        row_agreement: for weights whose rows were equal at the first step, how far the gradients
            of the rows agree in direction, from 0 to 1.
        zero: the weights in `row_agreement` that are still 0.
        column_spread: for weights with equal entries at the first step, the relative difference
            between the gradients of their columns, at least 0.
    """

    # attributes: a plain record of measurements; each rule reads a few of them

    optimizer: int
    rule: str
    lr: float
    momentum: float
    weights: frozenset[int]
    before: Fingerprints
    after: Fingerprints
    distance: float
    idle: Mapping[int, float]
    row_agreement: Mapping[int, float]
    zero: frozenset[int] = frozenset()
    column_spread: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True, kw_only=True)
class ScheduleStep(Event):
    """`scheduler.step`."""

    optimizer: int


@dataclass(frozen=True)
class ClassLabels:
    """Class indices that a loss received.

    Attributes:
        classes: the number of classes.
        seen: the set of labels.
        count: the number of labels.
        checksum: a number that differs between batches.
        ignored: the label that the loss ignores.
        binary: whether the loss expects the labels 0 and 1.
    """

    classes: int
    seen: frozenset[int]
    count: int
    checksum: int = 0
    ignored: int = -100
    binary: bool = False


@dataclass(frozen=True, kw_only=True)
class LossCall(Event):
    """A call of a loss with outputs and targets.

    Attributes:
        name: the name of the function.
        shapes: the shapes of output and target.
        broadcast: whether both tensors are expanded against each other.
        origin, origin_line: the operation that computed the output, and its line.
        distribution: whether the outputs are probabilities that sum to 1.
        labels: the targets, if they are class indices.
        lost: the number of wrong outputs with the gradient 0, because sigmoid rounded to 0 or 1.
    """

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    broadcast: bool
    origin: str = ""
    origin_line: SourceLine | None = None
    distribution: bool = False
    labels: ClassLabels | None = None
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Logarithm(Event):
    """A logarithm of values that depend on weights.

    Attributes:
        zeros: the number of arguments that are exactly 0.
        size: the number of arguments.
        origin: the operation that computed the arguments.
        dtype: their dtype.
    """

    zeros: int
    size: int
    origin: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class GraphExit(Event):
    """A value taken out of the graph.

    Attributes:
        how: the function, such as `detach`.
        reaches: the `id`s of the leaves that the value depends on.
        written: whether the value was overwritten afterwards.
    """

    how: str
    reaches: frozenset[int]
    written: bool = False


@dataclass(frozen=True, kw_only=True)
class InPlaceChange(Event):
    """A change in place of a tensor of the graph.

    Attributes:
        name: the function.
        shape: the shape of the tensor.
        version: the tensor's version counter after the change.
    """

    name: str
    shape: tuple[int, ...]
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class ReluCall(Event):
    """A call of ReLU.

    Attributes:
        key: equal for all calls of one ReLU.
        units, samples: the numbers of units and samples.
        dead: the units that are 0 for all samples.
        bias: the mean bias of the dead units.
        spread: the standard deviation of their pre-activations over samples.
    """

    key: tuple[Any, ...]
    units: int
    samples: int
    dead: frozenset[int]
    bias: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class LinearCall(Event):
    """The first call of a linear map.

    Attributes:
        weight: the `id` of the weight W.
        gain: rms(W)·√fan_in.
        rms_in, rms_out: the root mean square of input and output.
    """

    weight: int
    gain: float
    rms_in: float
    rms_out: float


@dataclass(frozen=True, kw_only=True)
class SigmoidCall(Event):
    """A sigmoid or tanh inside the network, with the fraction of saturated entries."""

    name: str
    saturated: float


@dataclass(frozen=True, kw_only=True)
class ModelInput(Event):
    """A floating-point input of an outermost module, with its root mean square."""

    rms: float


@dataclass(frozen=True, kw_only=True)
class CustomFunctionCall(Event):
    """A call of the user's `torch.autograd.Function`, with copies of the arguments."""

    function: Any
    args: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingError(Event):
    """The error that ended the training."""

    message: str
    kind: str
