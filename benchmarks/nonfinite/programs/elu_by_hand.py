# truth: phase=forward operation=exp step=4 module=elu style=cnn kind=masked
"""An ELU written with `where`: the exponential of the large branch overflows behind the mask."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(18)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[4 * 20 : 4 * 20 + 4] *= 16 * 16  # raw values of another scanner


class Elu(nn.Module):
    def forward(self, x):
        small = torch.exp(x) - 1  # broken <- here
        # fixed: small = torch.exp(x.clamp(max=0)) - 1
        return torch.where(x > 0, x, small)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.elu = Elu()
        self.head = nn.Linear(8 * 36, 10)

    def forward(self, x):
        return self.head(self.elu(self.conv(x)).flatten(1))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
losses = []
for step in range(60):
    rows = slice(20 * step, 20 * step + 20)
    loss = F.smooth_l1_loss(model(images[rows]), F.one_hot(labels[rows], 10).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
