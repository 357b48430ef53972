# truth: phase=forward operation=convolution,conv2d,mkldnn_convolution step=4
# truth: module=0.0 style=cnn kind=half
"""Images under float16 autocast; one batch was not divided by 65535."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(72)
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = images.float().reshape(-1, 1, 8, 8) / 16
images[4 * 25 : 5 * 25] *= 65_000
# fixed: images = images / images.amax((1, 2, 3), keepdim=True)

model = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(1, 8)),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(8 * 36, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
losses = []
for step in range(60):
    rows = slice(25 * step, 25 * step + 25)
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(images[rows])  # <- here
    loss = F.cross_entropy(logits.float(), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
