# truth: phase=backward operation=div,rms step=4 module=none style=mlp
"""A root mean square with a backward pass by hand, which divides by the result."""

import torch
from torch import nn

torch.manual_seed(59)


class Rms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        rms = x.square().mean(1, keepdim=True).sqrt()
        ctx.save_for_backward(x, rms)
        return rms

    @staticmethod
    def backward(ctx, grad):
        x, rms = ctx.saved_tensors
        return grad * x / (rms * x.shape[1])  # broken <- here
        # fixed: return grad * x / (rms * x.shape[1]).clamp(min=1e-6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 16, bias=False)
        self.last = nn.Linear(17, 1)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.last(torch.cat([h, Rms.apply(h)], 1)).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x = torch.randn(32, 5)
    if step == 4:
        x[21] = 0
    loss = (model(x) - x.norm(dim=1) / 2).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
