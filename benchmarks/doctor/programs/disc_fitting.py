# corpus: set=unseen mistake=unclipped_sigmoid also=log_of_zero
# why: the opacity is 1 well inside a disc, and log(1 - opacity) minus infinity
"""Fitting discs to a silhouette by differentiable rendering."""

import torch
from torch import nn


def grid(size=32):
    axis = torch.linspace(-1, 1, size)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)


class Discs(nn.Module):
    """Soft discs: the opacity of a pixel is the sigmoid of its depth inside the nearest rim."""

    def __init__(self, count=3, sharpness=40.0):
        super().__init__()
        self.centre = nn.Parameter(0.4 * torch.randn(count, 2))
        self.radius = nn.Parameter(torch.full((count,), 0.5))
        self.sharpness = sharpness

    def forward(self, pixels):
        distance = (pixels[..., None, :] - self.centre).norm(dim=-1)
        depth = torch.logsumexp(20 * (self.radius - distance), dim=-1) / 20
        return self.sharpness * depth


def silhouette(pixels):
    left = (pixels - torch.tensor([0.3, -0.35])).norm(dim=-1) < 0.45
    right = (pixels - torch.tensor([-0.2, 0.4])).norm(dim=-1) < 0.35
    return (left | right).float()


def loss_fn(depth, mask):
    # fixed: inside = mask * nn.functional.logsigmoid(depth)
    # fixed: outside = (1 - mask) * nn.functional.logsigmoid(-depth)
    opacity = torch.sigmoid(depth)  # broken
    inside = mask * torch.log(opacity)  # broken
    outside = (1 - mask) * torch.log(1 - opacity)  # broken
    return -(inside + outside).mean()


def main():
    torch.manual_seed(3)
    pixels = grid()
    mask = silhouette(pixels)
    model = Discs()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(120):
        optimizer.zero_grad()
        loss = loss_fn(model(pixels), mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 40 == 0:
            print(step, f"{losses[-1]:.4f}")
    return losses
