# corpus: set=unseen mistake=none
"""Bayesian personalised ranking with sparse tables, each kind of weight with its optimiser."""

import torch
from torch import nn
from torch.nn import functional as F


class Recommender(nn.Module):
    def __init__(self, users, items, dim=16):
        super().__init__()
        self.user = nn.Embedding(users, dim, sparse=True)
        self.item = nn.Embedding(items, dim, sparse=True)
        self.mix = nn.Linear(dim, dim, bias=False)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, user, item):
        return (self.mix(self.user(user)) * self.item(item)).sum(1)


def clicks(users, items, count, g):
    """Draw pairs in which the user likes the first item more."""
    taste = torch.randn(users, 4, generator=g)
    style = torch.randn(items, 4, generator=g)
    user = torch.randint(users, (count,), generator=g)
    a, b = torch.randint(items, (2, count), generator=g)
    likes_a = (taste[user] * (style[a] - style[b])).sum(1) > 0
    return user, torch.where(likes_a, a, b), torch.where(likes_a, b, a)


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    user, liked, other = clicks(60, 80, 4000, g)
    model = Recommender(60, 80)
    tables = [model.user.weight, model.item.weight]
    optimizers = [
        torch.optim.SparseAdam(tables, lr=0.02),
        torch.optim.Adam(model.mix.parameters(), lr=0.01),
    ]
    losses = []
    for _ in range(5):
        for rows in torch.randperm(len(user)).split(200):
            for optimizer in optimizers:
                optimizer.zero_grad()
            ahead = model(user[rows], liked[rows]) - model(user[rows], other[rows])
            loss = -F.logsigmoid(ahead).mean()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
    return losses
