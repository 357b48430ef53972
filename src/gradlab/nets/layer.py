"""One layer: a linear map, an activation, and perhaps a normalisation on either side of it."""

from torch import Tensor, nn


class Layer(nn.Module):
    """h = norm(phi(W h_prev + b)), or phi(norm(W h_prev + b)), or without norm or phi.

    This is the unit that the recorder looks for. Each step goes through its submodule's call, so
    that hooks see it.
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

    def forward(self, h: Tensor) -> Tensor:
        """Return [B, n_out] from [B, n_in]."""
        z = self.linear(h)
        if self.norm is not None and self.norm_position == "before":
            z = self.norm(z)
        a = z if self.activation is None else self.activation(z)
        if self.norm is not None and self.norm_position == "after":
            a = self.norm(a)
        return a
