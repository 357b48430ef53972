# truth: phase=forward operation=bmm,matmul step=0 module=attention style=transformer kind=half
"""Attention in float16 without a scale: products of queries and keys exceed 65504."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(71)
WIDTH = 32


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        # fixed: q, k = F.normalize(q.float(), dim=-1), F.normalize(k.float(), dim=-1)
        scores = q @ k.transpose(1, 2)  # broken <- here
        # fixed: scores = 5 * q @ k.transpose(1, 2)
        return scores.float().softmax(-1).to(v.dtype) @ v


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.head(self.attention(x).mean(1) / 100)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    label = torch.randint(4, (16,))
    x = 100 * torch.randn(16, 6, WIDTH) + 50 * F.one_hot(label, WIDTH)[:, None]
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(x)
    loss = F.cross_entropy(logits.float(), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
