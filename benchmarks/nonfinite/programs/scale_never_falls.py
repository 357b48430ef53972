# truth: phase=skipped operation=to,to_copy step=0 module=none style=mlp kind=half
"""A gradient scaler with a far too large scale: each update is skipped, and nothing is learnt."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(73)
model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)  # broken
# fixed: scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
true = torch.randn(10, 3)
losses = []
for step in range(60):
    x = torch.randn(64, 10)
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(x).float()  # <- here
        loss = F.cross_entropy(logits, (x @ true).argmax(1))
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item())
