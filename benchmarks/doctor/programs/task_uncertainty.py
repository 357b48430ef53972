# corpus: set=unseen mistake=missing_parameters
# why: the optimiser does not have the weights of the loss
"""Two tasks weighed by learned uncertainties (Kendall et al., 2018)."""

import torch
from torch import nn


class UncertaintyLoss(nn.Module):
    def __init__(self, tasks):
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses):
        return (torch.exp(-self.log_var) * losses + self.log_var).sum() / 2


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.GELU())
        self.depth = nn.Linear(32, 1)
        self.angle = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.depth(h), self.angle(h)


def scene(n=640, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    depth = x[:, :1] + 0.05 * torch.randn(n, 1, generator=g)
    angle = x[:, 1:2].sin() + 1.5 * torch.randn(n, 1, generator=g)
    return x, depth, angle


def main():
    torch.manual_seed(0)
    x, depth, angle = scene()
    model = TwoHeads()
    criterion = UncertaintyLoss(2)
    # fixed: optimizer = torch.optim.Adam([*model.parameters(), *criterion.parameters()], lr=0.02)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)  # broken
    history = []
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            d, a = model(x[rows])
            losses = torch.stack(
                [(d - depth[rows]).square().mean(), (a - angle[rows]).square().mean()]
            )
            total = criterion(losses)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            history.append(total.item())
    print("log variances", criterion.log_var.tolist())
    return history
