"""A residual multilayer perceptron."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gradlab.models.layer import Stream
from gradlab.models.mlp import MLP, MakeNorm


class ResMLP(MLP):
    """h_l = h_{l-1} + s phi(W_l h_{l-1} + b_l) for l = 2..L-1; first and last layers are plain.

    One linear map a block: the "reduced" residual network of Yang & Schoenholz 2017.

    Args:
        widths: [n_0, n, ..., n, n_L]: the hidden layers are of one width.
        activation: makes the activation of a hidden layer.
        norm: makes the normalisation of a hidden layer from its width; None for none.
        norm_position: "before" or "after" the activation, within the branch.
        branch_scale: s.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
        norm: MakeNorm | None = None,
        norm_position: str = "before",
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__(widths, activation, norm, norm_position)
        self.branch_scale = branch_scale
        self.streams = nn.ModuleList([Stream() for _ in widths[1:-1]])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L] from [B, n_0]."""
        *hidden, output = self.layers
        for index, (layer, stream) in enumerate(zip(hidden, self.streams, strict=True)):
            x = stream(layer(x) if index == 0 else x + self.branch_scale * layer(x))
        return output(x)
