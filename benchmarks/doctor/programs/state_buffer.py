# corpus: set=unseen mistake=in_place_change
# why: each state is written into the tensor that the cell has saved a part of
# crashes: modified by an inplace operation
"""A recurrent cell that writes its states into one tensor made beforehand."""

import torch
from torch import nn


class BufferedRNN(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.cell = nn.GRUCell(inputs, hidden)
        self.read = nn.Linear(hidden, 1)
        self.hidden = hidden

    def forward(self, x):
        batch, length, _ = x.shape
        # fixed: state = [torch.zeros(batch, self.hidden)]
        # fixed: for t in range(length):
        # fixed:     state.append(self.cell(x[:, t], state[t]))
        # fixed: return self.read(torch.stack(state[1:], dim=1)).squeeze(-1)
        state = torch.zeros(batch, length + 1, self.hidden)  # broken
        for t in range(length):  # broken
            state[:, t + 1] = self.cell(x[:, t], state[:, t])  # broken
        return self.read(state[:, 1:]).squeeze(-1)  # broken


def running_sums(n=256, length=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, 2, generator=g)
    gate = (x[..., 1] > 0).float()
    total = (x[..., 0] * gate).cumsum(1)
    return x, total / length**0.5


def main():
    torch.manual_seed(0)
    x, y = running_sums()
    model = BufferedRNN(2, 24)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for epoch in range(8):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(epoch, losses[-1])
    return losses
