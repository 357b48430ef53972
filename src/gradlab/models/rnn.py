"""Recurrent networks: plain, LSTM and GRU.

They loop over time with plain modules and elementwise operations, so that the recorder sees the
state h_t of every time step.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.errors import SettingsError
from gradlab.models.feedforward import Layer, MakeNorm, over_units


def steps_of(shape: tuple[int, int], per_step: int) -> tuple[int, int]:
    """Return (steps, features of a step) of a sample.

    Args:
        shape: (steps, features) in the data.
        per_step: features of a step; 0 for the data's number.

    Returns:
        (steps, features of a step).

    Raises:
        SettingsError: `per_step` does not divide the number of features.
    """
    features = shape[0] * shape[1]
    size = per_step or shape[1]
    if features % size:
        raise SettingsError(
            f"model.per_step={size}: expected a divisor of the {features} features of a sample; "
            f"the nearest is {nearest_divisor(features, size)}"
        )
    return features // size, size


def nearest_divisor(whole: int, value: int) -> int:
    """Return the divisor of `whole` that is nearest to `value`; of two, the smaller.

    >>> nearest_divisor(64, 7)
    8
    """
    return min((n for n in range(1, whole + 1) if whole % n == 0), key=lambda n: abs(n - value))


def last_steps(h_BTU: Tensor, target_steps: int | None) -> Tensor:
    """Return the last step [B, U], or the last steps [B, target_steps, U] if they have targets."""
    return h_BTU[:, -1] if target_steps is None else h_BTU[:, -target_steps:]


class Cell(nn.Module):
    """c_t = keep c_{t-1} + new: the path of the state that bypasses V. The recorder hooks it."""

    def forward(self, c: Tensor, keep: Tensor, new: Tensor) -> Tensor:
        """Return c_t.

        Args:
            c: c_{t-1}, [B, n].
            keep: the gate, [B, n].
            new: the new part, [B, n].

        Returns:
            c_t, [B, n].
        """
        return keep * c + new


class Gates(nn.Module):
    """Makes h_t from z_t and the state, in place of an activation; not elementwise."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()


class Recurrent(Layer):
    """h_t = norm(phi(W x_t + b + V h_{t-1})), or phi(norm(...)), or without norm; h_0 = 0.

    The recorder records a layer over depth, whose map is W x_t + b and whose samples are batch and
    steps. It also records a chain over time, whose map is V h_{t-1}.
    """

    gates = 1

    def __init__(
        self,
        n_in: int,
        n: int,
        activation: nn.Module,
        norm: MakeNorm | None = None,
        norm_position: str = "before",
    ) -> None:
        width = self.gates * n if norm_position == "before" else n
        linear = nn.Linear(n_in, self.gates * n)
        super().__init__(linear, activation, norm(width) if norm else None, norm_position)
        self.recurrent = nn.Linear(n, self.gates * n, bias=False)

    @property
    def maps(self) -> tuple[nn.Linear, ...]:
        """W with its bias, and V."""
        return self.linear, self.recurrent

    def forward(self, h: Tensor) -> Tensor:
        """Return [B, T, n] from [B, T, n_in]."""
        z_BTG = self.linear(h)
        start = z_BTG.new_zeros(z_BTG.shape[0], self.recurrent.in_features)
        state, out = (start, start), list[Tensor]()
        for z in z_BTG.unbind(1):
            state = self.step(z, *state)
            out.append(state[0])
        return torch.stack(out, 1)

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after a step.

        Args:
            z: W x_t + b, [B, n].
            h: h_{t-1}, [B, n].
            c: c_{t-1}, [B, n]; unused without a cell.

        Returns:
            h_t and c_t, [B, n] each.
        """
        return self.after(z + self.recurrent(h)), c


class RNN(nn.Module):
    """Recurrent layers, and a linear map of the last step, or of the last steps with targets.

    Args:
        widths: [n_0, n_1, ..., n_L]: features of a sample, units of each layer, outputs.
        activation: makes the activation of a recurrent layer.
        norm: makes the normalisation of a recurrent layer from its width; None for none.
        norm_position: "before" or "after" the activation.
        shape: (steps, features) in the data.
        target_steps: steps at the end of a sample that have a target each; None for one target.
        per_step: features of a step; 0 for the data's number.
        spectral_radius: the spectral radius of every V at initialisation; None: as drawn.
        layer: makes a recurrent layer.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
        norm: MakeNorm | None = None,
        norm_position: str = "before",
        *,
        shape: tuple[int, int],
        target_steps: int | None = None,
        per_step: int = 0,
        spectral_radius: float | None = None,
        layer: Callable[..., Recurrent] = Recurrent,
    ) -> None:
        super().__init__()
        self.steps = steps_of(shape, per_step)
        self.target_steps, self.spectral_radius = target_steps, spectral_radius
        _, *hidden, n_out = widths
        hidden = [self.steps[1], *hidden]
        layers: list[Layer] = [
            layer(n, m, activation(), norm, norm_position) for n, m in itertools.pairwise(hidden)
        ]
        self.layers = nn.ModuleList([*layers, Layer(nn.Linear(hidden[-1], n_out))])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L], or [B, target_steps, n_L], from [B, n_0]."""
        *recurrent, output = self.layers
        h = x.unflatten(-1, self.steps)
        for layer in recurrent:
            h = layer(h)
        return output(last_steps(h, self.target_steps))


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
    """Long short-term memory; z = W x_t + b + V h_{t-1} has four parts of n units."""

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
        """Return the state after a step.

        Args:
            z: W x_t + b, [B, 4n].
            h: h_{t-1}, [B, n].
            c: c_{t-1}, [B, n].

        Returns:
            h_t and c_t, [B, n] each.
        """
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
        keep = u.sigmoid()
        return self.cell(h, keep, (1 - keep) * self.phi(g))


class GRU(Recurrent):
    """Gated recurrent unit; the gate r scales the part of V h_{t-1} in g, as in `torch.nn.GRU`."""

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
                "model.norm_position=before is impossible for model=gru, whose gate r is within z: "
                "expected model.norm_position=after"
            )
        super().__init__(n_in, n, GRUGates(activation), norm, norm_position)

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after a step.

        Args:
            z: W x_t + b, [B, 3n].
            h: h_{t-1}, [B, n].
            c: unused, because a GRU has only the state h.

        Returns:
            h_t [B, n], and c unchanged.
        """
        r, u, g = z.chunk(3, -1)
        r_back, u_back, g_back = self.recurrent(h).chunk(3, -1)
        r = r + r_back
        z = torch.cat([r, u + u_back, g + r.sigmoid() * g_back], -1)
        assert self.activation is not None
        h = self.activation(z, h)
        return (h if self.norm is None else over_units(self.norm, h)), c


def lstm(widths: Sequence[int], *args: Any, forget_bias: float, **kwargs: Any) -> RNN:
    """Return a recurrent network of LSTM layers.

    Args:
        widths: as for `RNN`.
        args: further arguments of `RNN`.
        forget_bias: is added to f, so that the gate is open at the start (Jozefowicz et al. 2015).
        kwargs: further keywords of `RNN`.

    Returns:
        The network.
    """
    layer: Callable[..., Recurrent] = partial(LSTM, forget_bias=forget_bias)
    return RNN(widths, *args, layer=layer, **kwargs)


def gru(widths: Sequence[int], *args: Any, **kwargs: Any) -> RNN:
    """Return a recurrent network of GRU layers.

    Args:
        widths: as for `RNN`.
        args: further arguments of `RNN`.
        kwargs: further keywords of `RNN`.

    Returns:
        The network.
    """
    return RNN(widths, *args, layer=GRU, **kwargs)
