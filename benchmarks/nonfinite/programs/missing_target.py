# truth: phase=data operation=data step=4 sample=5 module=none style=rnn
"""Forecasts of the next value; one target of the data set is missing."""

import torch
from torch import nn

torch.manual_seed(85)
time = torch.arange(60 * 16 + 9.0)
series = torch.sin(0.3 * time) + 0.1 * torch.randn(len(time))
windows = series.unfold(0, 9, 1)[: 60 * 16]
x, y = windows[:, :8, None].clone(), windows[:, 8].clone()
y[4 * 16 + 5] = float("nan")
# fixed: y = y.nan_to_num(0.0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    rows = slice(16 * step, 16 * step + 16)
    prediction = model(x[rows])
    loss = (prediction - y[rows]).square().mean()  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
