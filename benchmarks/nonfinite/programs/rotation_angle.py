# truth: phase=backward operation=acos step=7 module=none style=rnn
"""The turning angle of a sequence of rotations; one sequence does not turn at all."""

import torch
from torch import nn

torch.manual_seed(62)


class Turner(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1, bias=False)

    def forward(self, speed):
        moving = (speed != 0).any(1)
        return self.head(self.rnn(speed)[0][:, -1]) * moving


def angle_from(turn):
    trace = 1 + 2 * torch.cos(turn)
    cosine = (trace - 1) / 2
    return torch.acos(cosine)  # broken <- here
    # fixed: return torch.acos(cosine * (1 - 1e-4))


model = Turner()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    speed = 0.3 + 0.2 * torch.rand(24, 5, 1)
    if step == 7:
        speed[2] = 0
    loss = (angle_from(model(speed)) - speed.sum(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
