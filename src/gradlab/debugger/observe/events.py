"""The events of a training: one record for each observation that a rule reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradlab.debugger.observe.fingerprints import Fingerprints
from gradlab.debugger.observe.source_lines import SourceLine


@dataclass(frozen=True, kw_only=True)
class Event:
    """An action of the user's code.

    Attributes:
        line: where it happened.
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
        derivative: dLoss by the scalar.
        line: where the scalar was computed.
    """

    is_mean: bool
    samples: int
    derivative: float
    line: SourceLine | None = None


@dataclass(frozen=True, kw_only=True)
class BackwardPass(Event):
    """A backward pass.

    Attributes:
        value: of the root, the loss.
        reaches: the leaves that get a gradient.
        before, after: all gradients.
        lines: all lines of the user's code that were running.
        retained: whether the graph is retained for another pass.
        terms: the means and sums that the loss is computed from.
        in_eval: modules that behave differently in evaluation mode, if everything that learns here
            is in that mode.
        eval_line: where `eval` was called.
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
    """A call of a clipping function of torch, or a clamp of a gradient by hand."""

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
        optimizer: its `id`.
        rule: its class.
        lr: its largest learning rate.
        momentum: of its first group.
        held: its weights.
        before, after: all gradients.
        distance: the norm of the change of all its weights.
        idle: the sum of the entries, before the step, of weights that no gradient moves here.
        row_agreement: for weights whose rows were equal at the first step, the agreement in
            direction of their gradient's rows, at most 1.
        zero: the weights among them that are still 0.
        column_spread: for weights that were one number at the first step, the relative difference
            of their gradient's columns, at least 0.
    """

    # attributes: a plain record of measurements; each rule reads a few of them

    optimizer: int
    rule: str
    lr: float
    momentum: float
    held: frozenset[int]
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
        seen: the different labels.
        count: the number of labels.
        checksum: differs between batches.
        ignored: the label that the loss ignores.
        binary: whether the loss expects 0 and 1.
    """

    classes: int
    seen: frozenset[int]
    count: int
    checksum: int = 0
    ignored: int = -100
    binary: bool = False


@dataclass(frozen=True, kw_only=True)
class LossCall(Event):
    """A loss of outputs and targets.

    Attributes:
        name: of the function.
        shapes: of output and target.
        broadcast: whether both were expanded against each other.
        origin, origin_line: the operation that computed the output, and where.
        distribution: whether the outputs are probabilities that sum to 1.
        labels: for class indices.
        lost: wrong entries with a gradient of exactly 0, because sigmoid rounded.
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
    """A logarithm of numbers that depend on weights."""

    zeros: int
    size: int
    origin: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class GraphExit(Event):
    """A value taken out of the graph.

    Attributes:
        how: the function that takes it out.
        reaches: the leaves that it depends on.
        written: whether it was written over afterwards.
    """

    how: str
    reaches: frozenset[int]
    written: bool = False


@dataclass(frozen=True, kw_only=True)
class InPlaceChange(Event):
    """A change in place of a tensor of the graph; `version`: torch's counter of such changes."""

    name: str
    shape: tuple[int, ...]
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class ReluCall(Event):
    """A ReLU.

    Attributes:
        key: the same for calls of the same ReLU.
        units, samples: their numbers.
        dead: the units that are 0 for all samples.
        bias: the mean bias of the dead units.
        spread: the standard deviation over samples of the dead units' pre-activations.
    """

    key: tuple[Any, ...]
    units: int
    samples: int
    dead: frozenset[int]
    bias: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class LinearCall(Event):
    """The first call of a linear map: rms(W)·√fan_in, and the rms of input and output."""

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
