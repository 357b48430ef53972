# corpus: set=unseen mistake=none
"""A physics-informed network: u'' = -pi^2 sin(pi x) with u(0) = u(1) = 0, by L-BFGS."""

import math

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=20):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, x):
        return self.layers(x)


def residual(net, x):
    u = net(x)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
    return ddu + math.pi**2 * torch.sin(math.pi * x)


class Solver:
    def __init__(self, net, points=40):
        self.net = net
        self.inside = torch.linspace(0, 1, points).unsqueeze(1).requires_grad_(True)
        self.edge = torch.tensor([[0.0], [1.0]])
        self.optimizer = torch.optim.LBFGS(
            net.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe"
        )

    def closure(self):
        self.optimizer.zero_grad()
        loss = residual(self.net, self.inside).square().mean()
        loss = loss + 10 * self.net(self.edge).square().mean()
        loss.backward()
        return loss

    def solve(self, rounds):
        return [self.optimizer.step(self.closure).item() for _ in range(rounds)]


def main():
    torch.manual_seed(0)
    solver = Solver(Net())
    losses = solver.solve(12)
    x = torch.linspace(0, 1, 50).unsqueeze(1)
    with torch.no_grad():
        print("error", (solver.net(x) - torch.sin(math.pi * x)).abs().max().item())
    return losses
