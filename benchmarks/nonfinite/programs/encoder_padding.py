# truth: phase=forward operation=softmax step=23 module=layers.0.attention style=transformer
# twin: the mask of the attention holds -inf
"""A transformer of the library's attention layers reads padded sequences of measurements."""

import torch
from torch import nn

torch.manual_seed(5)
LENGTH = 8


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.feed = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x, padding):
        mixed, _ = self.attention(x, x, x, key_padding_mask=padding)  # <- here
        x = x + mixed
        return x + self.feed(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(2, 16)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.head = nn.Linear(16, 1)

    def forward(self, x, lengths):
        padding = torch.arange(LENGTH) >= lengths[:, None]
        h = self.lift(x)
        for layer in self.layers:
            h = layer(h, padding)
        h = h.masked_fill(padding[..., None], 0)
        return self.head(h.sum(1) / lengths.clamp(min=1)[:, None]).squeeze(-1)


def batch(step):
    x = torch.randn(24, LENGTH, 2)
    lengths = torch.randint(2, LENGTH + 1, (24,))
    if step == 23:
        lengths[9] = 0  # broken
        # fixed: lengths[9] = 1
    seen = torch.arange(LENGTH) < lengths[:, None]
    return x, lengths, (x[..., 0] * seen).sum(1) / lengths.clamp(min=1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for step in range(60):
    x, lengths, target = batch(step)
    loss = (model(x, lengths) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
