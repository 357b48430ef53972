# corpus: set=unseen mistake=transposed_backward named=wrong_backward
# why: the graph is directed: what goes back needs the transposed matrix
"""Message passing over a directed graph, with a custom backward pass to save memory."""

import torch
from torch import nn
from torch.nn import functional as F


class Propagate(torch.autograd.Function):
    """Average each node's messages over its senders: z = P h."""

    @staticmethod
    def forward(ctx, h, transition):
        ctx.save_for_backward(transition)
        return transition @ h

    @staticmethod
    def backward(ctx, grad):
        (transition,) = ctx.saved_tensors
        # fixed: return transition.T @ grad, None
        return transition @ grad, None  # broken


class DirectedGCN(nn.Module):
    def __init__(self, d_in, hidden, classes):
        super().__init__()
        self.inner = nn.Linear(d_in, hidden)
        self.outer = nn.Linear(hidden, classes)

    def forward(self, x, transition):
        h = torch.tanh(Propagate.apply(self.inner(x), transition))
        return self.outer(Propagate.apply(h, transition))


def follower_graph(n=200, communities=3, seed=0):
    """A few accounts have most of the followers, so that senders and receivers differ."""
    g = torch.Generator().manual_seed(seed)
    group = torch.randint(communities, (n,), generator=g)
    fame = torch.rand(n, generator=g) ** 4
    chance = torch.where(group[:, None] == group[None, :], 0.5, 0.03) * fame
    edges = (torch.rand(n, n, generator=g) < chance).float() + torch.eye(n)
    x = F.one_hot(group, communities).float() @ torch.randn(communities, 10, generator=g)
    return x + 4 * torch.randn(n, 10, generator=g), edges / edges.sum(1, keepdim=True), group


def main():
    torch.manual_seed(0)
    x, transition, group = follower_graph()
    model = DirectedGCN(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    known = torch.arange(len(x)) % 2 == 0
    losses = []
    for epoch in range(80):
        out = model(x, transition)
        loss = F.cross_entropy(out[known], group[known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if epoch % 40 == 0:
            right = (out.argmax(1) == group)[~known].float().mean().item()
            print(f"{epoch} {losses[-1]:.3f} {right:.2f}")
    return losses
