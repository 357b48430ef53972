# truth: phase=update operation=rmsprop,addcdiv step=0 module=none style=cnn kind=half
"""RMSprop on float16 weights: squares of small gradients underflow, and the denominator is 0."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(76)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.half().reshape(-1, 1, 8, 8) / 16
model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)).half()
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)  # broken
# fixed: optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, eps=1e-3)
losses = []
for step in range(60):
    rows = slice(29 * step, 29 * step + 29)
    loss = F.cross_entropy(model(images[rows]).float(), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- here
    losses.append(loss.item())
