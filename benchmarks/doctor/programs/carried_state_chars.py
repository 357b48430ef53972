# corpus: set=unseen mistake=none
"""A language model on one long text: the state is carried on, its history is not."""

import torch
from torch import nn

TEXT = "how much wood would a woodchuck chuck if a woodchuck could chuck wood. " * 60


class RNNModel(nn.Module):
    def __init__(self, vocabulary, dim=32):
        super().__init__()
        self.encoder = nn.Embedding(vocabulary, dim)
        self.rnn = nn.LSTM(dim, dim)
        self.decoder = nn.Linear(dim, vocabulary)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids, state):
        out, state = self.rnn(self.encoder(ids), state)
        return self.decoder(out), state


def repackage(state):
    return tuple(s.detach() for s in state)


def batchify(ids, columns):
    rows = len(ids) // columns
    return ids[: rows * columns].view(columns, rows).t().contiguous()


def main():
    torch.manual_seed(0)
    letters = sorted(set(TEXT))
    data = batchify(torch.tensor([letters.index(c) for c in TEXT]), 8)
    model = RNNModel(len(letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses, bptt = [], 20
    for _ in range(4):
        state = (torch.zeros(1, 8, 32), torch.zeros(1, 8, 32))
        for start in range(0, len(data) - bptt, bptt):
            x, y = data[start : start + bptt], data[start + 1 : start + bptt + 1]
            state = repackage(state)
            optimizer.zero_grad()
            out, state = model(x, state)
            loss = nn.functional.cross_entropy(out.flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return losses
