"""A convolutional network: a plain chain of convolutions, and a linear map of all they found."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.errors import SettingsError
from gradlab.models.layer import Layer
from gradlab.models.mlp import MakeNorm


class Conv(nn.Linear):
    """A convolution that keeps the image's size: each position is a sample, each channel a unit.

    Its weight is the matrix [n_out, n_in k²] that all positions share, its zeros pad the border.

    Attributes:
        area: k², the number of outputs of a channel that one input reaches.
    """

    def __init__(self, n_in: int, n_out: int, image: tuple[int, int], kernel: int) -> None:
        self.area = kernel**2
        super().__init__(n_in * self.area, n_out)
        self.image, self.kernel = image, kernel

    def forward(self, input: Tensor) -> Tensor:
        """Return [B, P, n_out] from [B, P, n_in], P the positions of the image, row by row."""
        h_BIHW = input.unflatten(-2, self.image).movedim(-1, -3)
        kernels = self.weight.unflatten(-1, (-1, self.kernel, self.kernel))
        z_BOHW = F.conv2d(h_BIHW, kernels, self.bias, padding=self.kernel // 2)
        return z_BOHW.movedim(-3, -1).flatten(-3, -2)


class CNN(nn.Module):
    """h_l = phi(W_l * h_{l-1} + b_l) for l = 1..L-1, all of the image's size; then a linear map.

    The output layer reads every channel at every position: nothing is pooled, so the gradient's
    norm passes from layer to layer as in an MLP, times act_factor and weight_factor and no more.

    Args:
        widths: [n_0, n_1, ..., n_L]: pixels, channels of each layer, outputs.
        activation: makes the activation of a hidden layer.
        norm: makes the normalisation of a hidden layer from its channels; None for none.
        norm_position: "before" or "after" the activation.
        shape: (rows, columns) of the image.
        kernel: of how many rows and columns an output reads, odd.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
        norm: MakeNorm | None = None,
        norm_position: str = "before",
        *,
        shape: tuple[int, int],
        kernel: int,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise SettingsError(f"model.kernel={kernel}: expected an odd number; try {kernel + 1}")
        pixels, *hidden, n_out = widths
        channels = [1, *hidden]
        layers = [
            Layer(Conv(n, m, shape, kernel), activation(), norm(m) if norm else None, norm_position)
            for n, m in itertools.pairwise(channels)
        ]
        self.layers = nn.ModuleList([*layers, Layer(nn.Linear(pixels * channels[-1], n_out))])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L] from [B, n_0]."""
        *hidden, output = self.layers
        h = x[..., None]
        for layer in hidden:
            h = layer(h)
        return output(h.flatten(1))
