# corpus: set=unseen mistake=large_weights also=learning_rate
# why: a layer of 64 multiplies the signal by sqrt(64 / 6) = 3.3, six times over
"""Learning to rank: a deep scorer trained on pairs of documents of the same query."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class Scorer(nn.Module):
    def __init__(self, features, width=64, depth=6):
        super().__init__()
        sizes = [features] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.out = nn.Linear(width, 1)
        self.apply(self.init_weights)

    @staticmethod
    def init_weights(module):
        if isinstance(module, nn.Linear):
            # fixed: nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.uniform_(module.weight, -1.0, 1.0)  # broken
            nn.init.zeros_(module.bias)

    def forward(self, x):
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.out(x).squeeze(-1)


def queries(count, documents=8, features=10, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, documents, features, generator=g)
    relevance = torch.tanh(x[..., 0] - x[..., 1] * x[..., 2]) + 0.5 * x[..., 3]
    return x, relevance


def pairwise_loss(scores, relevance):
    """RankNet: the cross entropy of which of two documents comes first."""
    ahead = scores.unsqueeze(2) - scores.unsqueeze(1)
    better = (relevance.unsqueeze(2) > relevance.unsqueeze(1)).float()
    mask = ~torch.eye(scores.shape[1], dtype=torch.bool)
    return F.binary_cross_entropy_with_logits(ahead, better, reduction="none")[:, mask].mean()


class RankTrainer:
    def __init__(self, model, lr=1e-3):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.log = []

    def fit(self, x, relevance, epochs=15, batch=32):
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                loss = pairwise_loss(self.model(x[rows]), relevance[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.log.append(loss.item())
        return self


def main():
    torch.manual_seed(0)
    x, relevance = queries(256)
    return RankTrainer(Scorer(10)).fit(x, relevance).log
