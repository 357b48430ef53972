# truth: phase=forward operation=addmm,linear,rnn_relu step=0 module=rnn style=rnn
"""A recurrent network with ReLU and large recurrent weights: the state grows in each time step."""

import torch
from torch import nn

torch.manual_seed(55)
LENGTH = 16


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 64, nonlinearity="relu", batch_first=True)
        nn.init.uniform_(self.rnn.weight_hh_l0, 0, 25)  # broken
        # fixed: nn.init.eye_(self.rnn.weight_hh_l0)
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        states, _ = self.rnn(x)  # <- here
        return self.head(states[:, -1]).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
losses = []
for step in range(60):
    x = torch.randn(16, LENGTH, 2) / LENGTH**0.5
    loss = (model(x) - x[..., 0].sum(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
