# corpus: set=unseen mistake=item_in_path
# why: torch.tensor makes numbers of the losses
"""Three properties of a sample at once: a shared trunk and a loss for each task."""

import torch
from torch import nn
from torch.nn import functional as F


class SharedTrunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
        self.heads = nn.ModuleDict(
            {"kind": nn.Linear(24, 3), "size": nn.Linear(24, 1), "sold": nn.Linear(24, 1)}
        )

    def forward(self, x):
        h = self.trunk(x)
        return {name: head(h) for name, head in self.heads.items()}


def samples(n=900, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g)
    targets = {
        "kind": (x[:, :3] + 0.3 * torch.randn(n, 3, generator=g)).argmax(1),
        "size": (x[:, 3:4] * x[:, 4:5]).tanh(),
        "sold": (x[:, 5:6] + x[:, 6:7] > 0).float(),
    }
    return x, targets


LOSSES = {
    "kind": F.cross_entropy,
    "size": F.mse_loss,
    "sold": F.binary_cross_entropy_with_logits,
}


def combine(outputs, targets):
    losses = []
    for name, loss_fn in LOSSES.items():
        losses.append(loss_fn(outputs[name], targets[name]))
    # fixed: return torch.stack(losses).mean()
    return torch.tensor(losses, requires_grad=True).mean()  # broken


def main():
    torch.manual_seed(0)
    x, targets = samples()
    model = SharedTrunk()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    history = []
    for _ in range(10):
        for rows in torch.randperm(len(x)).split(60):
            batch = {name: t[rows] for name, t in targets.items()}
            loss = combine(model(x[rows]), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
    return history
