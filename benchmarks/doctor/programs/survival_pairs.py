# corpus: set=unseen mistake=none
"""Survival: all pairs of patients are compared, so (N, 1) against (1, N) is intended."""

import torch
from torch import nn
from torch.nn import functional as F


def patients(n=600, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    risk = x[:, 0] + torch.relu(x[:, 1]) - 0.5 * x[:, 2] * x[:, 3]
    time = torch.distributions.Exponential(1.0).sample((n,)) / risk.exp()
    censored = torch.rand(n, generator=g) < 0.3
    return x, time, (~censored).float()


def partial_likelihood(score, time, event):
    """Cox: the one who died, among all who were then alive."""
    alive = time.unsqueeze(0) >= time.unsqueeze(1)
    among = score.unsqueeze(0).masked_fill(~alive, float("-inf")).logsumexp(1)
    return ((among - score) * event).sum() / event.sum()


def ranking(score, time, event):
    """Whoever died earlier should have the higher score."""
    gap = score[:, None] - score[None, :]
    earlier = (time[:, None] < time[None, :]) & (event[:, None] > 0)
    return F.softplus(-gap)[earlier].mean()


def main():
    torch.manual_seed(0)
    x, time, event = patients()
    model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(100):
            score = model(x[rows]).squeeze(1)
            loss = partial_likelihood(score, time[rows], event[rows])
            loss = loss + 0.5 * ranking(score, time[rows], event[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
