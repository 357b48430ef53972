# truth: phase=forward operation=native_layer_norm,layer_norm step=9 module=norm style=transformer
"""Layer norm without epsilon in a transformer; a padded position is a constant vector."""

import torch
from torch import nn

torch.manual_seed(45)
LENGTH, WIDTH = 5, 12


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, eps=0.0)  # broken
        # fixed: self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x):
        h = self.norm(x)  # <- here
        h = x + self.attention(h, h, h, need_weights=False)[0]
        return self.head(h[:, 0]).squeeze(-1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(32, LENGTH, WIDTH)
    y = x[..., 0].mean(1)
    if step == 9:
        x[6, 4] = 0
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
