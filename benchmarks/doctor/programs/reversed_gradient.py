# corpus: set=unseen mistake=none
"""Domain adaptation: a reversed gradient sets the trunk against the domain's classifier."""

import torch
from torch import nn
from torch.nn import functional as F


class Reverse(torch.autograd.Function):
    """The identity forwards; backwards the gradient times minus the strength."""

    @staticmethod
    def forward(ctx, h, strength):
        ctx.strength = strength
        return h.view_as(h)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.strength * grad, None


class DANN(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.label = nn.Linear(16, 2)
        self.domain = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x, strength):
        h = self.trunk(x)
        return self.label(h), self.domain(Reverse.apply(h, strength)).squeeze(1)


def domains(n, g):
    x = torch.randn(2, n, 8, generator=g)
    label = (x[..., 0] + x[..., 1] > 0).long()
    x[1, :, 4:] += 1.0
    return x, label


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    model = DANN()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    label_losses = []
    for step in range(120):
        x, label = domains(32, g)
        answers, domain = model(x.flatten(0, 1), strength=0.3)
        label_loss = F.cross_entropy(answers[:32], label[0])
        origin = torch.arange(2.0).repeat_interleave(32)
        loss = label_loss + F.binary_cross_entropy_with_logits(domain, origin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        label_losses.append(label_loss.item())
        if step % 40 == 0:
            print(step, f"{loss.item():.3f}")
    return label_losses
