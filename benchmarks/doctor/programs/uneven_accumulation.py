# corpus: set=unseen mistake=none
"""Accumulation over batches of unequal size: each token counts the same, and so does the rest."""

import torch
from torch import nn


def sentences(n=300, seed=0):
    """Sequences of 4 to 12 tokens; the label of a token is whether it repeats the one before."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for length in torch.randint(4, 13, (n,), generator=g).tolist():
        ids = torch.randint(5, (length,), generator=g)
        out.append((ids, torch.cat([torch.tensor([0]), (ids[1:] == ids[:-1]).long()])))
    return out


class Tagger(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.embed = nn.Embedding(5, 12)
        self.rnn = nn.GRU(12, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 2)

    def forward(self, ids):
        return self.out(self.rnn(self.embed(ids).unsqueeze(0))[0]).squeeze(0)


class Trainer:
    def __init__(self, model, every=10, lr=0.02):
        self.model, self.every = model, every
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.losses = []

    def update(self, group):
        tokens = sum(len(ids) for ids, _ in group)
        self.optimizer.zero_grad()
        total = 0.0
        for ids, labels in group:
            loss = nn.functional.cross_entropy(self.model(ids), labels, reduction="sum") / tokens
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.losses.append(total)

    def fit(self, data, epochs):
        for _ in range(epochs):
            order = torch.randperm(len(data)).tolist()
            for start in range(0, len(order), self.every):
                self.update([data[i] for i in order[start : start + self.every]])
        return self.losses


def main():
    torch.manual_seed(0)
    return Trainer(Tagger()).fit(sentences(), epochs=2)
