"""A Transformer encoder without fused kernels, so that hooks see every linear map."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gradlab.errors import SettingsError
from gradlab.models.feedforward import Layer, MakeNorm, Norm, Stream
from gradlab.models.rnn import last_steps, nearest_divisor, steps_of


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v in each head, and a linear map (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (Layer(nn.Linear(width, width)) for _ in range(4))

    def forward(self, h_BTU: Tensor) -> Tensor:
        """Return [B, T, U] from [B, T, U]; every step attends to every step."""
        q, k, v = (self._split(layer(h_BTU)) for layer in (self.q, self.k, self.v))
        scores_BHTT = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        mixed_BHTD = scores_BHTT.softmax(-1) @ v
        return self.out(mixed_BHTD.transpose(-3, -2).flatten(-2))

    def _split(self, x_BTU: Tensor) -> Tensor:
        return x_BTU.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class Block(nn.Module):
    """Attention, then two layers with phi between them, each with a skip connection.

    Pre-norm: h + branch(norm(h)). Post-norm: norm(h + branch(h)) (Xiong et al. 2020, table 1).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int,
        activation: nn.Module,
        norm: MakeNorm | None,
        norm_position: str,
    ) -> None:
        super().__init__()
        self.pre = norm_position == "before"
        self.norm_1 = Norm(norm(width) if norm else None)
        self.attention = Attention(width, heads)
        self.norm_2 = Norm(norm(width) if norm else None)
        self.mlp = nn.Sequential(
            Layer(nn.Linear(width, expansion * width), activation),
            Layer(nn.Linear(expansion * width, width)),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return [B, T, U] from [B, T, U]."""
        for norm, branch in ((self.norm_1, self.attention), (self.norm_2, self.mlp)):
            h = h + branch(norm(h)) if self.pre else norm(h + branch(h))
        return h


class Transformer(nn.Module):
    """A linear map of each step to the width, `depth` blocks, and a linear output map.

    The output map reads the mean over the steps, or the last steps if they have targets. Sines
    encode positions (Vaswani et al. 2017, section 3.5). With pre-norm, the last block's output is
    normalised too.

    Args:
        widths: [n_0, n, ..., n, n_L]: features of a sample, units of each block, outputs.
        activation: makes the activation within a block.
        norm: makes a normalisation from the width; None for none.
        norm_position: "before" the branch (pre-norm) or "after" the sum (post-norm).
        shape: (steps, features) in the data.
        target_steps: steps at the end of a sample that have a target each; None for one target.
        per_step: features of a step; 0 for the data's number.
        heads: heads of the attention; the width is divided among them.
        expansion: units between a block's two layers, in multiples of the width.
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
        heads: int,
        expansion: int,
    ) -> None:
        super().__init__()
        depth = len(widths) - 2
        if not depth:
            raise SettingsError(
                "model.depth=0: expected at least one block for a Transformer; try model.depth=1"
            )
        width = widths[1]
        if width % heads:
            raise SettingsError(
                f"model.heads={heads}: expected a divisor of model.width={width}; "
                f"the nearest is {nearest_divisor(width, heads)}"
            )
        self.steps, self.target_steps = steps_of(shape, per_step), target_steps
        self.embed = Layer(nn.Linear(self.steps[1], width))
        self.register_buffer("positions", sines(self.steps[0], width))
        self.streams = nn.ModuleList([Stream() for _ in range(depth + 1)])
        self.blocks = nn.ModuleList(
            [
                Block(width, heads, expansion, activation(), norm, norm_position)
                for _ in range(depth)
            ]
        )
        self.norm = Norm(norm(width) if norm and norm_position == "before" else None)
        self.output = Layer(nn.Linear(width, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, n_L], or [B, target_steps, n_L], from [B, n_0]."""
        first, *others = self.streams
        h = self.embed(x.unflatten(-1, self.steps))
        h = first(h + self.positions.to(h.dtype))
        for block, stream in zip(self.blocks, others, strict=True):
            h = stream(block(h))
        h = self.norm(h)
        return self.output(
            h.mean(1) if self.target_steps is None else last_steps(h, self.target_steps)
        )


def sines(steps: int, width: int) -> Tensor:
    """Return [steps, width]: sines and cosines of the step, with wavelengths from 2π to 2π·10⁴."""
    rates = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = torch.arange(steps, dtype=torch.float64)[:, None] / 10_000**rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
