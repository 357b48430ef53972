# corpus: set=tuned mistake=none
"""Truncated backpropagation through time: the state goes on, its graph does not."""

import torch
import torch.nn.functional as F
from torch import nn

TEXT = "one for the money, two for the show, three to get ready, now go, cat, go. " * 30
CHARS = sorted(set(TEXT))
BPTT, BATCH = 16, 8


class CharLSTM(nn.Module):
    def __init__(self, vocab, dim=48):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, dim)
        self.head = nn.Linear(dim, vocab)

    def forward(self, tokens, state):
        out, state = self.lstm(self.embed(tokens), state)
        return self.head(out), state


def repackage(state):
    return None if state is None else tuple(s.detach() for s in state)


def main():
    torch.manual_seed(0)
    ids = torch.tensor([CHARS.index(c) for c in TEXT])
    columns = ids[: len(ids) // BATCH * BATCH].view(BATCH, -1).t()
    model = CharLSTM(len(CHARS))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    history = []
    for _ in range(5):
        state = None
        for i in range(0, len(columns) - BPTT, BPTT):
            x, y = columns[i : i + BPTT], columns[i + 1 : i + 1 + BPTT]
            state = repackage(state)
            logits, state = model(x, state)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            history.append(loss.item())
    return history
