# truth: phase=forward operation=div step=6 module=none style=mlp
# twin: torch computes 0/0 in the derivative of a norm of 0, and masks the result
"""Two towers with a cosine by hand; an unknown user has the embedding 0."""

import torch
from torch import nn

torch.manual_seed(51)
users = nn.Embedding(30, 12, padding_idx=0)
items = nn.Embedding(30, 12)
model = nn.ModuleDict({"users": users, "goods": items, "tower": nn.Linear(12, 12, bias=False)})
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)


def cosine(a, b):
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))  # broken <- here
    # fixed: return nn.functional.cosine_similarity(a, b)


losses = []
for step in range(60):
    user, item = torch.randint(1, 30, (64,)), torch.randint(30, (64,))
    likes = torch.where((user + item) % 2 == 0, 1.0, -1.0)
    if step == 6:
        user[33] = 0
    a, b = model["tower"](model["users"](user)), model["goods"](item)
    loss = (cosine(a, b) - likes).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
