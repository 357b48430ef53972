# truth: phase=update operation=adam,addcdiv step=0 module=none style=mlp kind=half
"""A small network in float16 with Adam, whose epsilon of 1e-8 is 0 in float16."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(25)
model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 4)).half()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)  # broken
# fixed: optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
true = torch.randn(16, 4)
losses = []
for step in range(60):
    x = torch.randn(96, 16)
    loss = F.cross_entropy(model(x.half()).float(), (x @ true).argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- here
    losses.append(loss.item())
