# truth: phase=skipped operation=sqrt step=0 module=magnitude style=cnn kind=half
# twin: the scale starts too high; the scaler skips the first updates and reduces it
"""A gradient that is NaN in each step, behind a gradient scaler: no update takes place."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(74)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16


class Magnitude(nn.Module):
    def forward(self, edges):
        squares = edges.float().square().sum(1, keepdim=True)
        return torch.sqrt(squares)  # broken <- here
        # fixed: return torch.sqrt(squares + 1e-4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.edges = nn.Conv2d(1, 4, 3, bias=False)
        self.magnitude = Magnitude()
        self.head = nn.Linear(36, 10)

    def forward(self, x):
        return self.head(self.magnitude(self.edges(x)).flatten(1))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
losses = []
for step in range(60):
    rows = slice(29 * step, 29 * step + 29)
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(images[rows])
    loss = F.cross_entropy(logits.float(), labels[rows])
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item())
