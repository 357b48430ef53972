# corpus: set=tuned mistake=dying_relu
# why: the last layer's prior put into every layer: all units begin dead
"""One digit against the rest, with focal loss and a prior for the rare class (Lin et al. 2017)."""

import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

PRIOR = 0.01


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.cls_logits = nn.Linear(16 * 16, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)
                # fixed: nn.init.zeros_(layer.bias)
                # fixed: nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))
                nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))  # broken

    def forward(self, x):
        return self.cls_logits(self.backbone(x).flatten(1)).squeeze(1)


def focal_loss(logits, targets, gamma=2.0):
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = torch.sigmoid(logits)
    p_t = p * targets + (1 - p) * (1 - targets)
    return ((1 - p_t) ** gamma * bce).mean()


def train_one_batch(model, optimizer, batch):
    images, targets = batch["image"], batch["target"]
    loss = focal_loss(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target == 8, dtype=torch.float32)
    model = Detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rows = torch.randperm(len(x)).split(64)
    return train_one_batch, model, optimizer, [{"image": x[r], "target": y[r]} for r in rows]
