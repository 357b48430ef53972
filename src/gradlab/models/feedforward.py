"""The layers of all networks, and the networks MLP, residual MLP and CNN.

A `Layer` is a linear map, an activation, and an optional normalisation before or after it.
"""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.errors import SettingsError


class Layer(nn.Module):
    """h = norm(phi(W h_prev + b)), or phi(norm(W h_prev + b)), or without norm or phi.

    The recorder records each `Layer` of a network. Every operation is a call of a submodule, so
    hooks see it. The last axis of a signal is the unit. All other axes, such as the positions of an
    image or the steps of a sequence, are samples, for the normalisation too.
    """

    def __init__(
        self,
        linear: nn.Linear,
        activation: nn.Module | None = None,
        norm: nn.Module | None = None,
        norm_position: str = "before",
    ) -> None:
        super().__init__()
        self.linear = linear
        self.activation = activation
        self.norm = norm
        self.norm_position = norm_position

    @property
    def maps(self) -> tuple[nn.Linear, ...]:
        """Every linear map of the layer."""
        return (self.linear,)

    def forward(self, h: Tensor) -> Tensor:
        """Return [B, ..., n_out] from [B, ..., n_in]."""
        return self.after(self.linear(h))

    def after(self, z: Tensor) -> Tensor:
        """Return the layer's output [B, ..., n_out] from its pre-activation z [B, ..., n_out]."""
        if self.norm is not None and self.norm_position == "before":
            z = over_units(self.norm, z)
        a = z if self.activation is None else self.activation(z)
        if self.norm is not None and self.norm_position == "after":
            a = over_units(self.norm, a)
        return a


class Norm(nn.Module):
    """A normalisation outside a layer, over the units of [B, ..., n]; None: the identity."""

    def __init__(self, inner: nn.Module | None) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor) -> Tensor:
        """Return h normalised, [B, ..., n]."""
        return h if self.inner is None else over_units(self.inner, h)


class Stream(nn.Identity):
    """The output of a residual block: input plus branch. The recorder hooks it."""


def over_units(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a normalisation of [samples, n] to [B, ..., n]."""
    return norm(x) if x.ndim == 2 else norm(x.flatten(0, -2)).view(x.shape)


MakeNorm = Callable[[int], nn.Module]


class MLP(nn.Module):
    """h_l = phi(W_l h_{l-1} + b_l) for l = 1..L-1, and a linear output layer.

    Args:
        widths: [n_0, ..., n_L]: features, units of each hidden layer, outputs.
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


class ResMLP(MLP):
    """h_l = h_{l-1} + s phi(W_l h_{l-1} + b_l) for l = 2..L-1; the first and last layer are plain.

    Each block has one linear map: the "reduced" residual network of Yang & Schoenholz 2017.

    Args:
        widths: [n_0, n, ..., n, n_L]: all hidden layers have the same width.
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


class Conv(nn.Linear):
    """A convolution that keeps the image's size: each position is a sample, each channel a unit.

    All positions share the weight matrix [n_out, n_in k²]. The border is padded with zeros.

    Attributes:
        area: k², the number of outputs per channel that depend on one input.
    """

    def __init__(self, n_in: int, n_out: int, image: tuple[int, int], kernel: int) -> None:
        self.area = kernel**2
        super().__init__(n_in * self.area, n_out)
        self.image, self.kernel = image, kernel

    def forward(self, input: Tensor) -> Tensor:
        """Return [B, P, n_out] from [B, P, n_in], with the P positions of the image row by row."""
        h_BIHW = input.unflatten(-2, self.image).movedim(-1, -3)
        kernels = self.weight.unflatten(-1, (-1, self.kernel, self.kernel))
        z_BOHW = F.conv2d(h_BIHW, kernels, self.bias, padding=self.kernel // 2)
        return z_BOHW.movedim(-3, -1).flatten(-3, -2)


class CNN(nn.Module):
    """h_l = phi(W_l * h_{l-1} + b_l) for l = 1..L-1, each of the image's size; then a linear map.

    Without pooling, the output layer reads every channel at every position. So the gradient's
    norm changes from layer to layer only by act_factor and weight_factor, as in an MLP.

    Args:
        widths: [n_0, n_1, ..., n_L]: pixels, channels of each layer, outputs.
        activation: makes the activation of a hidden layer.
        norm: makes the normalisation of a hidden layer from its channels; None for none.
        norm_position: "before" or "after" the activation.
        shape: (rows, columns) of the image.
        kernel: rows and columns of the kernel, an odd number.
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
