# corpus: set=unseen mistake=constant_init
# why: all factors of a user or film are equal, and stay equal
"""Ratings of films by users: matrix factorisation with biases."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_ratings(users, items, rank=3, count=4000, seed=0):
    g = torch.Generator().manual_seed(seed)
    taste = torch.randn(users, rank, generator=g)
    style = torch.randn(items, rank, generator=g)
    u = torch.randint(users, (count,), generator=g)
    i = torch.randint(items, (count,), generator=g)
    rating = 3.5 + (taste[u] * style[i]).sum(1) / rank**0.5
    return u, i, rating + 0.1 * torch.randn(count, generator=g)


class Factors(nn.Module):
    def __init__(self, users, items, rank):
        super().__init__()
        self.user = nn.Embedding(users, rank)
        self.item = nn.Embedding(items, rank)
        self.user_bias = nn.Embedding(users, 1)
        self.item_bias = nn.Embedding(items, 1)
        self.mean = nn.Parameter(torch.tensor(0.0))
        for table in (self.user, self.item):
            # fixed: nn.init.normal_(table.weight, std=0.1)
            nn.init.constant_(table.weight, 0.1)  # broken
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, u, i):
        match = (self.user(u) * self.item(i)).sum(1)
        return match + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1) + self.mean


def parse(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--epochs", type=int, default=12)
    return parser.parse_args(argv)


def main(argv=()):
    args = parse(argv)
    torch.manual_seed(0)
    u, i, rating = make_ratings(80, 60)
    model = Factors(80, 60, args.rank)
    with torch.no_grad():
        model.mean.fill_(rating.mean())
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    loader = DataLoader(TensorDataset(u, i, rating), batch_size=256, shuffle=True)
    losses = []
    for _ in range(args.epochs):
        for users, items, stars in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(users, items), stars)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
