"""One layer: a linear map, an activation, and perhaps a normalisation on either side of it."""

from torch import Tensor, nn


class Layer(nn.Module):
    """h = norm(phi(W h_prev + b)), or phi(norm(W h_prev + b)), or without norm or phi.

    This is the unit that the recorder looks for. Each step goes through its submodule's call, so
    that hooks see it. The last axis of a signal is the unit; all others, such as the positions of
    an image or the steps of a sequence, are samples, to the normalisation too.
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
        """Return what the layer makes of its pre-activation."""
        if self.norm is not None and self.norm_position == "before":
            z = over_units(self.norm, z)
        a = z if self.activation is None else self.activation(z)
        if self.norm is not None and self.norm_position == "after":
            a = over_units(self.norm, a)
        return a


class Norm(nn.Module):
    """A normalisation that belongs to no layer: over the units of [B, ..., n]; None for none."""

    def __init__(self, inner: nn.Module | None) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor) -> Tensor:
        """Return [B, ..., n] from the same."""
        return h if self.inner is None else over_units(self.inner, h)


class Stream(nn.Identity):
    """What a block hands on: the sum of its input and its branch. Here the recorder looks."""


def over_units(norm: nn.Module, x: Tensor) -> Tensor:
    """Call a normalisation of [samples, n] with [B, ..., n]."""
    return norm(x) if x.ndim == 2 else norm(x.flatten(0, -2)).view(x.shape)
