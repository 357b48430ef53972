"""The modules that `gradlab run` records: layers, steps of recurrent layers and cells, blocks."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from gradlab.models.feedforward import Layer, Stream
from gradlab.models.init import has_bias
from gradlab.models.rnn import RNN, Gates, Recurrent
from gradlab.recording.columns import steepest_slope


@dataclass(frozen=True)
class RecordedModule:
    """A module, or one time step of it, that has a row in each record.

    Attributes:
        axis: "depth" for a layer, "time" for a step of a recurrent layer, "cell" for a step of its
            cell, "block" for the output of a block with a skip connection.
        position: Place in the chain, 1 = nearest the input, or the first time step.
        name: Dotted name, as in `model.named_modules()`.
        module: The layer, or the stream.
        steepest: Maximum of |phi'| of its activation; 1 without activation, NaN for gates.
        kind: Equal for modules that can be measured together: same shapes, activation, norm.
        below: For a block, the stream that enters it.
    """

    axis: str
    position: int
    name: str
    module: Layer | Stream
    steepest: float = math.nan
    kind: tuple[object, ...] = ()
    below: Stream | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """Axis, position and name."""
        return self.axis, self.position, self.name

    @property
    def layer(self) -> Layer:
        """The layer; for rows over depth, time and cell."""
        assert isinstance(self.module, Layer)
        return self.module

    @property
    def maps(self) -> dict[str, nn.Linear]:
        """The linear maps that make up W_l, from left to right, by their names in the layer."""
        if self.axis == "time" and isinstance(self.module, Recurrent):
            return {"recurrent": self.module.recurrent}
        return dict(zip(("linear", "recurrent"), self.layer.maps, strict=False))

    @property
    def has_bias(self) -> bool:
        """Whether the row has a bias gradient."""
        return self.axis == "depth" and has_bias(self.layer.linear)


def find_modules(model: nn.Module) -> list[RecordedModule]:
    """Find the modules of one of gradlab's networks that are recorded.

    Args:
        model: The network, a member of a stack or alone.

    Returns:
        The layers in the order of registration, which is the order of the forward pass; then the
        steps of each recurrent layer, the steps of each cell, and the blocks (every stream but the
        first).
    """
    named = list(model.named_modules())
    layers = [(name, m) for name, m in named if isinstance(m, Layer)]
    steepest: dict[str, float] = {}  # the same activation in every layer is measured once
    found: list[RecordedModule] = []
    for position, (name, layer) in enumerate(layers, start=1):
        phi = repr(layer.activation)
        if phi not in steepest:
            steepest[phi] = _steepest(layer.activation)
        norm = (type(layer.norm), layer.norm_position)
        kind = (*layer.linear.weight.shape, has_bias(layer.linear), phi, *norm)
        found.append(RecordedModule("depth", position, name, layer, steepest[phi], kind))
    streams = [(name, m) for name, m in named if isinstance(m, Stream)]
    blocks = [
        RecordedModule("block", position, name, stream, kind=("block",), below=below)
        for position, ((_, below), (name, stream)) in enumerate(pairwise(streams), start=1)
    ]
    recurrent = [each for each in found if isinstance(each.module, Recurrent)]
    gated = [each for each in recurrent if isinstance(each.layer.activation, Gates)]
    steps, cells = _steps(model, recurrent, "time"), _steps(model, gated, "cell")
    return [*found, *steps, *cells, *blocks]


def _steps(model: nn.Module, layers: list[RecordedModule], axis: str) -> list[RecordedModule]:
    steps = next((m.steps[0] for m in model.modules() if isinstance(m, RNN)), 0)
    return [
        RecordedModule(axis, t, each.name, each.module, each.steepest, (axis, each.name))
        for each in layers
        for t in range(1, steps + 1)
    ]


def _steepest(activation: nn.Module | None) -> float:
    if isinstance(activation, Gates):
        return math.nan
    return 1.0 if activation is None else steepest_slope(activation)
