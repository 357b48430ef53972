# truth: phase=forward operation=mul step=0 module=none style=functional kind=half
"""A constant loss scale in float16: the scaled loss itself is above 65504."""

import torch
from torch import nn

torch.manual_seed(79)
SCALE = 2.0**15  # broken
# fixed: SCALE = 2.0**7
master = torch.zeros(6)
model = nn.ParameterDict({"weight": master.half()})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
true = torch.randn(6)
losses = []
for step in range(60):
    x = torch.randn(64, 6)
    error = x.half() @ model["weight"] - (x @ true).half()
    loss = error.square().mean()
    optimizer.zero_grad()
    scaled = SCALE * loss  # <- here
    scaled.backward()
    for p in model.parameters():
        p.grad.div_(SCALE)
    optimizer.step()
    losses.append(loss.item())
