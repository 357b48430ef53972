"""Finds the modules that `gradlab run` records: layers, time steps, cells and blocks."""

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
    """A module, or a time step of a module, that has a row in `layers.parquet` at each record.

    Attributes:
        axis: "depth" for a layer, "time" for a step of a recurrent layer, "cell" for a step of its
            cell, "block" for the output of a block with a skip connection.
        position: Position on the axis; 1 = nearest the input, or the first time step.
        name: Dotted name, as in `model.named_modules()`.
        module: The layer; for a block, the `Stream` at its output.
        steepest: Maximum of |phi'| of the activation; 1 without activation, NaN for gates.
        kind: Equal for modules with equal shapes, activation and normalisation, which are measured
            together.
        below: For a block, the `Stream` at its input.
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
        """The layer; not for a block."""
        assert isinstance(self.module, Layer)
        return self.module

    @property
    def maps(self) -> dict[str, nn.Linear]:
        """The linear maps that form W_l, from left to right, keyed by their names in the layer."""
        if self.axis == "time" and isinstance(self.module, Recurrent):
            return {"recurrent": self.module.recurrent}
        return dict(zip(("linear", "recurrent"), self.layer.maps, strict=False))

    @property
    def has_bias(self) -> bool:
        """Whether the row has a bias gradient."""
        return self.axis == "depth" and has_bias(self.layer.linear)


def find_modules(model: nn.Module) -> list[RecordedModule]:
    """Find the modules to record in one of gradlab's networks.

    Args:
        model: A single network, or the module of a stack.

    Returns:
        The layers in the order of registration, which is the order of the forward pass; then the
        steps of each recurrent layer, the steps of each cell, and the blocks.
    """
    named = list(model.named_modules())
    layers = [(name, m) for name, m in named if isinstance(m, Layer)]
    steepest: dict[str, float] = {}  # measure each activation once
    recorded: list[RecordedModule] = []
    for position, (name, layer) in enumerate(layers, start=1):
        phi = repr(layer.activation)
        if phi not in steepest:
            steepest[phi] = _steepest(layer.activation)
        norm = (type(layer.norm), layer.norm_position)
        kind = (*layer.linear.weight.shape, has_bias(layer.linear), phi, *norm)
        recorded.append(RecordedModule("depth", position, name, layer, steepest[phi], kind))
    streams = [(name, m) for name, m in named if isinstance(m, Stream)]
    blocks = [
        RecordedModule("block", position, name, stream, kind=("block",), below=below)
        for position, ((_, below), (name, stream)) in enumerate(pairwise(streams), start=1)
    ]
    recurrent = [each for each in recorded if isinstance(each.module, Recurrent)]
    gated = [each for each in recurrent if isinstance(each.layer.activation, Gates)]
    steps = next((m.steps[0] for m in model.modules() if isinstance(m, RNN)), 0)
    unrolled = [
        RecordedModule(axis, t, each.name, each.module, each.steepest, (axis, each.name))
        for axis, group in (("time", recurrent), ("cell", gated))
        for each in group
        for t in range(1, steps + 1)
    ]
    return [*recorded, *unrolled, *blocks]


def _steepest(activation: nn.Module | None) -> float:
    if isinstance(activation, Gates):
        return math.nan
    return 1.0 if activation is None else steepest_slope(activation)
