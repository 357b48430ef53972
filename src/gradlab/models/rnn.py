"""Recurrent networks, step by step in plain modules, so that every h_t can be seen."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gradlab.errors import SettingsError
from gradlab.models.init import fill
from gradlab.models.layer import Layer
from gradlab.models.mlp import MakeNorm
from gradlab.models.sequence import read, steps_of


class Cell(nn.Module):
    """c_t = kept c_{t-1} + what is new: the state's way past V. Here the recorder looks."""

    def forward(self, c: Tensor, kept: Tensor, new: Tensor) -> Tensor:
        """Return c_t from c_{t-1}, the gate's share of it that is kept, and what is new, [B, n]."""
        return kept * c + new


class Gates(nn.Module):
    """In the place of an activation: makes h_t of z_t and the state, and is not elementwise."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()


class Recurrent(Layer):
    """h_t = norm(phi(W x_t + b + V h_{t-1})), or phi(norm(...)), or without norm; h_0 = 0.

    The recorder sees a layer over depth, whose map is W x_t + b and whose samples are batch and
    steps, and a chain over time, whose map is V h_{t-1}.
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
        """Return h_t and c_t from W x_t + b, h_{t-1} and c_{t-1}; without a cell c is idle."""
        return self.after(z + self.recurrent(h)), c


class RNN(nn.Module):
    """`depth` recurrent layers, and a linear map of the last step, or of as many as are asked for.

    Args:
        widths: [n_0, n_1, ..., n_L]: features of a sample, units of each layer, outputs.
        activation: makes the activation of a recurrent layer.
        norm: makes the normalisation of a recurrent layer from its width; None for none.
        norm_position: "before" or "after" the activation.
        shape: (steps, features) as the data has them.
        asked: how many steps at the end have a target each; None: one target a sample.
        per_step: features that make a step; 0 for the data's own.
        spectral_radius: of every V at initialisation; None leaves it as it is drawn.
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
        asked: int | None = None,
        per_step: int = 0,
        spectral_radius: float | None = None,
        layer: Callable[..., Recurrent] = Recurrent,
    ) -> None:
        super().__init__()
        self.steps = steps_of(shape, per_step)
        self.asked, self.spectral_radius = asked, spectral_radius
        _, *hidden, n_out = widths
        hidden = [self.steps[1], *hidden]
        layers: list[Layer] = [
            layer(n, m, activation(), norm, norm_position) for n, m in itertools.pairwise(hidden)
        ]
        self.layers = nn.ModuleList([*layers, Layer(nn.Linear(hidden[-1], n_out))])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L], or [B, asked, n_L], from [B, n_0]."""
        *recurrent, output = self.layers
        h = x.unflatten(-1, self.steps)
        for layer in recurrent:
            h = layer(h)
        return output(read(h, self.asked))


def to_spectral_radius(model: nn.Module) -> None:
    """Scale every V of a recurrent network, as it was drawn, to the spectral radius asked for.

    An orthogonal V becomes exactly that many times an orthogonal matrix.

    Raises:
        SettingsError: a V has no eigenvalue but 0.
    """
    if not isinstance(model, RNN) or model.spectral_radius is None:
        return
    for layer in model.modules():
        if isinstance(layer, Recurrent):
            weight = layer.recurrent.weight.detach().double()
            radius = float(torch.linalg.eigvals(weight).abs().max())
            if not radius > 0:
                raise SettingsError(
                    f"model.spectral_radius={model.spectral_radius} cannot be reached: as it is "
                    "initialised, a recurrent matrix has spectral radius 0"
                )
            fill(layer.recurrent.weight, weight * (model.spectral_radius / radius))
