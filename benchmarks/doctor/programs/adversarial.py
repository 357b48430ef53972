# corpus: set=tuned mistake=none
"""Adversarial training (FGSM): the attack runs backward too, in eval mode, and leaves no trace."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

EPSILON = 0.05


def attack(model, x, y):
    model.eval()
    x = x.clone().requires_grad_(True)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    model.train()
    return (x + EPSILON * x.grad.sign()).clamp(0, 1).detach()


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        rows = torch.randint(len(images), (64,))
        x, y = images[rows], labels[rows]
        x_adv = attack(model, x, y)
        optimizer.zero_grad()  # the attack has left gradients in the weights
        loss = 0.5 * (F.cross_entropy(model(x), y) + F.cross_entropy(model(x_adv), y))
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history
