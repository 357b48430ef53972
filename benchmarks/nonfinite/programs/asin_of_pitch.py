# truth: phase=backward operation=asin step=11 module=pitch style=rnn
"""The pitch of a drone from a sequence of unit vectors; once it points straight up."""

import torch
from torch import nn

torch.manual_seed(20)


class Pitch(nn.Module):
    def forward(self, vector):
        up = vector[..., 2].clamp(-1, 1)
        return torch.asin(up)  # broken <- here
        # fixed: return torch.asin(0.999 * up)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.8))
        self.pitch = Pitch()
        self.rnn = nn.RNN(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        angle = self.pitch(x * self.gain)
        return self.head(self.rnn(angle[..., None])[0][:, -1]).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
losses = []
for step in range(60):
    x = nn.functional.normalize(torch.randn(16, 6, 3), dim=-1)
    y = x[..., 2].sum(1) / 2
    if step == 11:
        x[3, 4] = torch.tensor([0.0, 0.0, 1.0]) / model.gain.item()
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
