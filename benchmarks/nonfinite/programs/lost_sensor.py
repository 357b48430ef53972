# truth: phase=data operation=data step=1 sample=3 module=none style=transformer
"""A transformer over sensor readings; in one sequence a sensor fails for some time steps."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(87)
readings = torch.randn(60 * 16, 6, 4)
target = readings[..., 0].mean(1)
readings[16 + 3, 2:4, 1] = float("nan")
# fixed: readings = readings.nan_to_num(0.0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(4, 12)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 1)

    def forward(self, x):
        x = self.lift(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1)).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
batches = list(DataLoader(TensorDataset(readings, target), batch_size=16))
for step in range(60):
    x, y = batches[step]
    x = x.clamp(-4, 4)  # <- here
    loss = (model(x) - y).square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
