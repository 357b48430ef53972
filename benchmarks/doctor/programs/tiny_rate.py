# corpus: set=tuned mistake=learning_rate
# why: 6e-7: nothing moves
"""Fine-tuning settings on a network that starts from nothing."""

import torch
from sklearn.datasets import load_wine
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(13, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU())
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.body(x))


def groups(model, lr, decay=0.01):
    plain = [p for p in model.parameters() if p.ndim == 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": decayed, "lr": lr, "weight_decay": decay},
        {"params": plain, "lr": lr, "weight_decay": 0.0},
    ]


def train_step(model, optimizer, batch):
    x, y = batch
    loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    model = Net()
    # fixed: optimizer = torch.optim.SGD(groups(model, lr=2e-1))
    optimizer = torch.optim.SGD(groups(model, lr=2e-5 / 32))  # broken
    batches = [(x[r], y[r]) for _ in range(5) for r in torch.randperm(len(x)).split(32)]
    return train_step, model, optimizer, batches
