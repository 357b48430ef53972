"""Recurrent layers with gates: LSTM and GRU, from elementwise operations."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.errors import SettingsError
from gradlab.models.layer import over_units
from gradlab.models.mlp import MakeNorm
from gradlab.models.rnn import RNN, Gates, Recurrent


class LSTMGates(Gates):
    """c_t = σ(f) c_{t-1} + σ(i) phi(g), h_t = σ(o) phi(c_t), of z = [i, f, g, o].

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    def __init__(self, phi: nn.Module, forget_bias: float) -> None:
        super().__init__()
        self.phi, self.forget_bias = phi, forget_bias

    def forward(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return h_t and c_t, each [B, n], from z [B, 4n] and c_{t-1}."""
        i, f, g, o = z.chunk(4, -1)
        c = self.cell(c, (f + self.forget_bias).sigmoid(), i.sigmoid() * self.phi(g))
        return o.sigmoid() * self.phi(c), c


class LSTM(Recurrent):
    """Long short-term memory; its z = W x_t + b + V h_{t-1} has four parts of n units."""

    gates = 4

    def __init__(
        self,
        n_in: int,
        n: int,
        activation: nn.Module,
        norm: MakeNorm | None = None,
        norm_position: str = "before",
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__(n_in, n, LSTMGates(activation, forget_bias), norm, norm_position)

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return h_t and c_t from W x_t + b, h_{t-1} and c_{t-1}."""
        z = z + self.recurrent(h)
        if self.norm is not None and self.norm_position == "before":
            z = over_units(self.norm, z)
        assert self.activation is not None
        h, c = self.activation(z, c)
        if self.norm is not None and self.norm_position == "after":
            h = over_units(self.norm, h)
        return h, c


class GRUGates(Gates):
    """h_t = σ(u) h_{t-1} + (1 - σ(u)) phi(g), of z = [r, u, g] (Cho et al. 2014)."""

    def __init__(self, phi: nn.Module) -> None:
        super().__init__()
        self.phi = phi

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        """Return h_t [B, n] from z [B, 3n] and h_{t-1}."""
        _, u, g = z.chunk(3, -1)
        kept = u.sigmoid()
        return self.cell(h, kept, (1 - kept) * self.phi(g))


class GRU(Recurrent):
    """Gated recurrent unit; the gate r scales what V h_{t-1} adds to g, as in torch's own."""

    gates = 3

    def __init__(
        self,
        n_in: int,
        n: int,
        activation: nn.Module,
        norm: MakeNorm | None = None,
        norm_position: str = "after",
    ) -> None:
        if norm is not None and norm_position == "before":
            raise SettingsError(
                "model.norm_position=before is not for model=gru, whose gate r is within z: "
                "expected model.norm_position=after"
            )
        super().__init__(n_in, n, GRUGates(activation), norm, norm_position)

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return h_t from W x_t + b and h_{t-1}; there is no c."""
        r, u, g = z.chunk(3, -1)
        r_back, u_back, g_back = self.recurrent(h).chunk(3, -1)
        r = r + r_back
        z = torch.cat([r, u + u_back, g + r.sigmoid() * g_back], -1)
        assert self.activation is not None
        h = self.activation(z, h)
        return (h if self.norm is None else over_units(self.norm, h)), c


def lstm(widths: Sequence[int], *args: Any, forget_bias: float, **kwargs: Any) -> RNN:
    """Return a recurrent network of LSTM layers: the arguments of `RNN`, and the forget bias.

    `forget_bias` is added to f: the gate is open at the start (Jozefowicz et al. 2015).
    """
    layer: Callable[..., Recurrent] = partial(LSTM, forget_bias=forget_bias)
    return RNN(widths, *args, layer=layer, **kwargs)


def gru(widths: Sequence[int], *args: Any, **kwargs: Any) -> RNN:
    """Return a recurrent network of GRU layers: the arguments of `RNN`."""
    return RNN(widths, *args, layer=GRU, **kwargs)
