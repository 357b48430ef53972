"""A multilayer perceptron: a plain chain of layers."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gradlab.models.layer import Layer

MakeNorm = Callable[[int], nn.Module]


class MLP(nn.Module):
    """h_l = phi(W_l h_{l-1} + b_l) for l = 1..L-1, and a linear output layer.

    Args:
        widths: [n_0, ..., n_L], the input's and the output's included.
        activation: makes the activation of a hidden layer.
        norm: makes the normalisation of a hidden layer from its width; None for none.
        norm_position: "before" or "after" the activation.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
        norm: MakeNorm | None = None,
        norm_position: str = "before",
    ) -> None:
        super().__init__()
        *hidden, n_out = widths
        layers = [
            Layer(nn.Linear(n, m), activation(), norm(m) if norm else None, norm_position)
            for n, m in itertools.pairwise(hidden)
        ]
        self.layers = nn.ModuleList([*layers, Layer(nn.Linear(hidden[-1], n_out))])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L] from [B, n_0]."""
        for layer in self.layers:
            x = layer(x)
        return x
