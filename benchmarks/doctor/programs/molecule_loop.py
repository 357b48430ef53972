# corpus: set=unseen mistake=summed_loss also=learning_rate
# why: a sum over 32 molecules at a rate that suits their mean
"""Graphs of different sizes, one at a time, a step for every 32 of them."""

import random

import torch
from torch import nn
from torch.nn import functional as F


def molecule(rng, g):
    """Return atoms, bonds and whether the chain closes to a ring."""
    n = rng.randint(5, 9)
    ring = rng.random() < 0.5
    bonds = torch.eye(n)
    for i in range(n - 1):
        bonds[i, i + 1] = bonds[i + 1, i] = 1
    if ring:
        bonds[0, n - 1] = bonds[n - 1, 0] = 1
    atoms = torch.cat([bonds.sum(1, keepdim=True) - 2, torch.randn(n, 3, generator=g)], dim=1)
    return atoms, bonds, torch.tensor([int(ring)])


class GraphNet(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.embed = nn.Linear(4, hidden)
        self.conv = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, atoms, bonds):
        h = F.relu(self.embed(atoms))
        h = F.relu(self.conv(bonds @ h / bonds.sum(1, keepdim=True)))
        return self.out(h.mean(0, keepdim=True))


def train_batch(model, optimizer, batch):
    optimizer.zero_grad()
    loss = 0
    for atoms, bonds, ring in batch:
        loss = loss + F.cross_entropy(model(atoms, bonds), ring)
    # fixed: loss = loss / len(batch)
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    rng, g = random.Random(0), torch.Generator().manual_seed(0)
    molecules = [molecule(rng, g) for _ in range(512)]
    model = GraphNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for _ in range(4):
        rng.shuffle(molecules)
        for start in range(0, len(molecules), 32):
            batch = molecules[start : start + 32]
            losses.append(train_batch(model, optimizer, batch))
    return losses
