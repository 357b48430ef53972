"""What was seen of a training: events in order, and what the weights and modules are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gradlab.debugger.observe.gradient_fingerprints import Prints, is_cleared
from gradlab.debugger.observe.source_lines import Place


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that the user's code did, where, and after how many updates."""

    place: Place
    update: int


@dataclass(frozen=True)
class Factor:
    """A scalar on the way to the loss: a mean or a sum, over so many samples, and dLoss by it.

    `place` is where it was made.
    """

    is_mean: bool
    samples: int
    value: float
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Backward(Event):
    """A backward pass: its root's value, the leaves it reaches, all gradients before and after.

    `trail` is all lines that were running; `retained`: the graph is kept for another pass.
    `factors` are the derivatives of the root by each scalar that a loss or a reduction made on the
    way. `asleep` are the modules that behave otherwise in evaluation, if everything that learns
    here is in that mode; `slept` is where `eval` was called.
    """

    value: float
    reaches: frozenset[int]
    before: Prints
    after: Prints
    trail: tuple[Place, ...] = ()
    retained: bool = False
    factors: tuple[Factor, ...] = ()
    asleep: tuple[str, ...] = ()
    slept: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Clip(Event):
    """A call of one of torch's clipping functions."""

    name: str
    before: Prints
    after: Prints


@dataclass(frozen=True, kw_only=True)
class Unscale(Event):
    """`GradScaler.unscale_`, called by the user or by `GradScaler.step`."""

    optimizer: int


@dataclass(frozen=True, kw_only=True)
class Attempt(Event):
    """`GradScaler.step`, whether or not it lets the optimiser step."""

    optimizer: int


@dataclass(frozen=True, kw_only=True)
class Update(Event):
    """`optimizer.step`: gradients before and after it, and how far the weights went.

    `idle` are weights that no gradient moves here, for they have none or no optimiser has them,
    with the sum of their numbers before it.
    `alike` are weights all of whose rows were equal at the first update, with how far the rows of
    their gradients agree in direction now, 1 at most; `zero` are those of them that are still 0.
    `columns` are weights that were one number at the first update, with how far the columns of
    their gradients differ now, 0 at least.
    """

    optimizer: int
    rule: str
    lr: float
    momentum: float
    held: frozenset[int]
    before: Prints
    after: Prints
    moved: float
    idle: Mapping[int, float]
    alike: Mapping[int, float]
    zero: frozenset[int] = frozenset()
    columns: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True, kw_only=True)
class Schedule(Event):
    """`scheduler.step`."""

    optimizer: int


@dataclass(frozen=True)
class Labels:
    """Class indices that a loss was given.

    `checksum` tells batches apart; `binary`: whole numbers where it expects 0 and 1.
    """

    classes: int
    seen: frozenset[int]
    count: int
    checksum: int = 0
    ignored: int = -100
    binary: bool = False


@dataclass(frozen=True, kw_only=True)
class Loss(Event):
    """A loss of outputs and targets.

    Attributes:
        name: of the function.
        shapes: of output and target.
        broadcast: whether both were expanded against each other.
        origin, made: the operation that computed the output, and where.
        distribution: whether the outputs are probabilities that sum to 1.
        labels: for class indices.
        lost: entries that are wrong and whose gradient is exactly 0 because sigmoid rounded.
    """

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    broadcast: bool
    origin: str = ""
    made: Place | None = None
    distribution: bool = False
    labels: Labels | None = None
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A logarithm of numbers that depend on weights."""

    zeros: int
    size: int
    origin: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Cut(Event):
    """A value taken out of the graph: how, which leaves it depends on, if it was changed there."""

    how: str
    reaches: frozenset[int]
    written: bool = False


@dataclass(frozen=True, kw_only=True)
class InPlace(Event):
    """A tensor of the graph changed in place; `version`: how often its memory was, with this."""

    name: str
    shape: tuple[int, ...]
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class Rectified(Event):
    """A ReLU: how many of its units are 0 for all samples, and the bias that they have.

    `bias` and `spread` are the mean bias of the dead units, and the standard deviation over samples
    of what it is added to.
    """

    key: tuple[Any, ...]
    units: int
    samples: int
    dead: frozenset[int]
    bias: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class Mapped(Event):
    """A linear map with its weight: rms of weights times sqrt(fan_in), rms of input and output."""

    weight: int
    gain: float
    rms_in: float
    rms_out: float


@dataclass(frozen=True, kw_only=True)
class Squashed(Event):
    """A sigmoid or tanh inside the network: the share of entries where it is flat."""

    name: str
    saturated: float


@dataclass(frozen=True, kw_only=True)
class Fed(Event):
    """The float input of an outermost module: its root mean square."""

    rms: float


@dataclass(frozen=True, kw_only=True)
class HandWritten(Event):
    """A `torch.autograd.Function` of the user's, and copies of what it was called with."""

    function: Any
    args: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Failure(Event):
    """The error that ended the training."""

    message: str
    kind: str


@dataclass
class Weight:
    """What is known of a weight.

    Attributes:
        name: its name in the model.
        registered: whether it is among the parameters of a module that was called from outside.
        keeper: the attribute that holds it where no module looks, such as `Net.hidden (list)`.
        held: the optimisers that hold it.
    """

    name: str
    shape: tuple[int, ...]
    trainable: bool
    registered: bool
    keeper: str = ""
    held: frozenset[int] = frozenset()
    asleep: bool = False


@dataclass
class Called:
    """A module that was called; `layer`: one of torch's own, other than an embedding."""

    kind: str
    place: Place
    weights: frozenset[int]
    mode_matters: bool
    layer: bool = False
    grad: set[bool] = field(default_factory=set[bool])


E = TypeVar("E", bound=Event)


@dataclass
class Trace:
    """All that was seen of one run."""

    events: list[Event] = field(default_factory=list[Event])
    weights: dict[int, Weight] = field(default_factory=dict[int, Weight])
    modules: list[Called] = field(default_factory=list[Called])
    made: dict[int, Place] = field(default_factory=dict[int, Place])  # optimisers, and where
    alive: dict[int, Place] = field(default_factory=dict[int, Place])  # updates, of graphs held
    updates: int = 0

    def all(self, kind: type[E]) -> Sequence[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def failure(self) -> Failure | None:
        """The error that ended the training, if one did."""
        return next(iter(self.all(Failure)), None)

    @property
    def losses(self) -> list[float]:
        """The sum of the backward passes' roots, update by update."""
        sums: dict[int, float] = {}
        for event in self.all(Backward):
            sums[event.update] = sums.get(event.update, 0.0) + event.value
        return [*sums.values()]

    @property
    def reached(self) -> set[int]:
        """Weights that get a gradient: from a backward pass, or from the user's own hand."""
        by_hand = {w for u in self.all(Update) for w in u.held if not is_cleared(u.before, w)}
        return by_hand.union(*(each.reaches for each in self.all(Backward)))

    @property
    def moved_otherwise(self) -> set[int]:
        """Weights that something else moves than an optimiser: an average, ascent by hand."""
        seen: dict[int, set[float]] = {}
        for update in self.all(Update):
            for w, value in update.idle.items():
                seen.setdefault(w, set()).add(value)
        return {w for w, values in seen.items() if len(values) > 1}

    def names(self, ids: Sequence[int] | frozenset[int] | set[int], most: int = 4) -> str:
        """Return weights by name, in the model's order."""
        found = [w.name for key, w in self.weights.items() if key in ids]
        more = f" and {len(found) - most} more" if len(found) > most else ""
        return ", ".join(found[:most]) + more
