# corpus: set=tuned mistake=unclipped_sigmoid also=log_of_zero
# why: at a score of 17 it is exactly 1, and log(1 - p) is minus infinity
"""Relevance of pairs of documents, scored by a two-tower model with a sharp scale."""

import torch
import torch.nn.functional as F
from torch import nn

SCALE = 30.0


class TwoTowers(nn.Module):
    def __init__(self, n_in=20, dim=16):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, dim))
        self.document = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, q, d):
        q = F.normalize(self.query(q), dim=1)
        d = F.normalize(self.document(d), dim=1)
        return SCALE * (q * d).sum(1)


def log_loss(score, relevant):
    # fixed: return F.binary_cross_entropy_with_logits(score, relevant)
    p = 1 / (1 + torch.exp(-score))  # broken
    return -(relevant * torch.log(p) + (1 - relevant) * torch.log(1 - p)).mean()  # broken


def make_batch(n=64):
    topic = torch.randn(n, 20)
    relevant = (torch.rand(n) < 0.5).float()
    other = torch.where(relevant[:, None] == 1, topic, torch.randn(n, 20))
    return topic + 0.1 * torch.randn(n, 20), other + 0.1 * torch.randn(n, 20), relevant


def step(model, optimizer, batch):
    q, d, relevant = batch
    loss = log_loss(model(q, d), relevant)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    model = TwoTowers()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return step, model, optimizer, [make_batch() for _ in range(30)]
