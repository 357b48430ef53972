# truth: phase=backward operation=linalg_eigh step=0 module=none style=functional
"""Principal axes of a learnt covariance, which starts as the identity: equal eigenvalues."""

import torch
from torch import nn

torch.manual_seed(23)
start = torch.eye(3)  # broken
# fixed: start = torch.diag(torch.tensor([1.0, 1.4, 1.9]))
model = nn.ParameterDict({"root": start})
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
true_axis = nn.functional.normalize(torch.tensor([1.0, 2.0, 2.0]), dim=0)

losses = []
for step in range(60):
    covariance = model["root"] @ model["root"].T
    values, axes = torch.linalg.eigh(covariance)  # <- here
    aligned = (axes[:, -1] @ true_axis).square()
    loss = 1 - aligned + 0.01 * values.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
