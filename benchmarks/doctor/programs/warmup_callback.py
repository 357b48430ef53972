# corpus: set=unseen mistake=schedule_before_step
# why: the first value of the schedule is never used
"""A learning rate that warms up and then falls, kept by a callback."""

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


class LRCallback:
    def __init__(self, optimizer, warmup, total):
        def factor(step):
            if step < warmup:
                return (step + 1) / warmup
            return max(0.0, (total - step) / (total - warmup))

        self.schedule = LambdaLR(optimizer, factor)
        self.seen = []

    def on_batch_start(self):
        # fixed: self.seen.append(self.schedule.get_last_lr()[0])
        self.schedule.step()  # broken

    def on_batch_end(self):
        # fixed: self.schedule.step()
        self.seen.append(self.schedule.get_last_lr()[0])  # broken


class Loop:
    def __init__(self, model, optimizer, callbacks):
        self.model, self.optimizer, self.callbacks = model, optimizer, callbacks
        self.losses = []

    def batch(self, x, y):
        for c in self.callbacks:
            c.on_batch_start()
        loss = nn.functional.smooth_l1_loss(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        for c in self.callbacks:
            c.on_batch_end()


def tides(n=800, seed=0):
    g = torch.Generator().manual_seed(seed)
    hour = 24 * torch.rand(n, 1, generator=g)
    day = 28 * torch.rand(n, 1, generator=g)
    phase = torch.cat([hour / 12.42, hour / 12.0, day / 14.77], 1) * 2 * torch.pi
    x = torch.cat([phase.sin(), phase.cos()], 1)
    height = phase[:, :1].cos() * (1 + 0.3 * phase[:, 2:].cos())
    return x, height + 0.05 * torch.randn(n, 1, generator=g)


def main():
    torch.manual_seed(0)
    x, y = tides()
    model = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loop = Loop(model, optimizer, [LRCallback(optimizer, warmup=10, total=100)])
    for _ in range(5):
        for rows in torch.randperm(len(x)).split(40):
            loop.batch(x[rows], y[rows])
    return loop.losses
