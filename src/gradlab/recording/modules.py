"""Where the recorder looks: layers over depth, steps of recurrent ones and of cells, blocks."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from gradlab.models.feedforward import Layer, Stream
from gradlab.models.init import has_bias
from gradlab.models.rnn import RNN, Gates, Recurrent
from gradlab.recording.slopes import steepest_slope


@dataclass(frozen=True)
class Site:
    """A place under observation.

    Attributes:
        axis: "depth" for a layer, "time" for one step of a recurrent layer, "cell" for one of its
            cell, "block" for the stream of a network with skip connections.
        position: its place in the chain, 1 = nearest the input, or the first step.
        name: dotted, as in `model.named_modules()`.
        module: the layer, or the stream.
        steepest: the maximum of |phi'| of its activation; 1 if it has none, NaN if it has gates.
        kind: equal for sites that can be measured together: shapes, activation, normalisation.
        below: of a block, the stream that enters it.
    """

    axis: str
    position: int
    name: str
    module: Layer | Stream
    steepest: float = math.nan
    kind: tuple[object, ...] = ()
    below: Stream | None = None

    @property
    def layer(self) -> Layer:
        """The layer, of a site that has one."""
        assert isinstance(self.module, Layer)
        return self.module

    @property
    def maps(self) -> dict[str, nn.Linear]:
        """The maps that make up its W, side by side, by their names in the layer."""
        if self.axis == "time" and isinstance(self.module, Recurrent):
            return {"recurrent": self.module.recurrent}
        return dict(zip(("linear", "recurrent"), self.layer.maps, strict=False))

    @property
    def has_bias(self) -> bool:
        """Whether a bias goes with it."""
        return self.axis == "depth" and has_bias(self.layer.linear)


def find_sites(model: nn.Module) -> list[Site]:
    """Return the model's layers in the order of registration, which is that of the forward.

    Then the steps of each recurrent layer, those of each cell, and the blocks: the streams after
    the first.
    """
    named = list(model.named_modules())
    layers = [(name, m) for name, m in named if isinstance(m, Layer)]
    steepest: dict[str, float] = {}  # the same activation in every layer is measured once
    sites: list[Site] = []
    for position, (name, layer) in enumerate(layers, start=1):
        phi = repr(layer.activation)
        if phi not in steepest:
            steepest[phi] = _steepest(layer.activation)
        norm = (type(layer.norm), layer.norm_position)
        kind = (*layer.linear.weight.shape, has_bias(layer.linear), phi, *norm)
        sites.append(Site("depth", position, name, layer, steepest[phi], kind))
    streams = [(name, m) for name, m in named if isinstance(m, Stream)]
    blocks = [
        Site("block", position, name, stream, kind=("block",), below=below)
        for position, ((_, below), (name, stream)) in enumerate(pairwise(streams), start=1)
    ]
    recurrent = [site for site in sites if isinstance(site.module, Recurrent)]
    gated = [site for site in recurrent if isinstance(site.layer.activation, Gates)]
    steps, cells = _steps(model, recurrent, "time"), _steps(model, gated, "cell")
    return [*sites, *steps, *cells, *blocks]


def _steps(model: nn.Module, layers: list[Site], axis: str) -> list[Site]:
    steps = next((m.steps[0] for m in model.modules() if isinstance(m, RNN)), 0)
    return [
        Site(axis, t, site.name, site.module, site.steepest, (axis, site.name))
        for site in layers
        for t in range(1, steps + 1)
    ]


def _steepest(activation: nn.Module | None) -> float:
    if isinstance(activation, Gates):
        return math.nan
    return 1.0 if activation is None else steepest_slope(activation)
