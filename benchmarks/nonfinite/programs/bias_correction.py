# truth: phase=update operation=div step=0 module=none style=functional
"""Adam by hand: steps are counted from 0, so that the first bias correction is 0."""

import torch
from torch import nn


class HandAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=0.05, beta=0.9, gamma=0.99):
        super().__init__(params, {"lr": lr, "beta": beta, "gamma": gamma})
        self.count = 0  # broken
        # fixed: self.count = 1

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m, v = state.get("m", torch.zeros_like(p)), state.get("v", torch.zeros_like(p))
                m = state["m"] = group["beta"] * m + (1 - group["beta"]) * p.grad
                v = state["v"] = group["gamma"] * v + (1 - group["gamma"]) * p.grad.square()
                corrected = m / (1 - torch.tensor(group["beta"]) ** self.count)  # <- here
                root = (v / (1 - torch.tensor(group["gamma"]) ** self.count)).sqrt()
                p -= group["lr"] * corrected / (root + 1e-8)
        self.count += 1


torch.manual_seed(83)
model = nn.ParameterDict({"weight": torch.zeros(5), "bias": torch.zeros(())})
optimizer = HandAdam(model.parameters())
losses = []
for step in range(60):
    x = torch.randn(32, 5)
    loss = (x @ model["weight"] + model["bias"] - x[:, 0] - 0.5).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
