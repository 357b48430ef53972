# corpus: set=tuned mistake=none
"""Sequence to sequence with teacher forcing half of the time, else with the predicted words."""

import random

import torch
import torch.nn.functional as F
from torch import nn

VOCAB, LENGTH, START, RATIO = 7, 5, 0, 0.5


class Translator(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRUCell(dim, dim)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, source, target):
        _, state = self.encoder(self.embed(source))
        state = state[0]
        word = torch.full_like(target[:, 0], START)
        forced = random.random() < RATIO
        logits = []
        for t in range(target.shape[1]):
            state = self.decoder(self.embed(word), state)
            logits.append(self.out(state))
            word = target[:, t] if forced else logits[-1].argmax(1).detach()
        return torch.stack(logits, dim=1)


def main():
    random.seed(0)
    torch.manual_seed(0)
    model = Translator()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    history = []
    for i in range(80):
        source = torch.randint(1, VOCAB, (64, LENGTH))
        target = source.roll(1, dims=1)
        optimizer.zero_grad()
        logits = model(source, target)
        loss = F.cross_entropy(logits.reshape(-1, VOCAB), target.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(loss.item())
        if i % 20 == 0:
            print(f"{i}: {loss.item():.3f}")
    return history
