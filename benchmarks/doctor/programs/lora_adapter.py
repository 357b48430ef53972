# corpus: set=unseen mistake=zero_init also=constant_init
# why: with both factors 0 neither has a gradient, ever
"""Adapting a fixed digit classifier to slanted digits with low-rank updates of its weights."""

import math
import warnings

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F


class LoRALinear(nn.Module):
    def __init__(self, weight, bias, rank=4, alpha=8.0):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.lora_a = nn.Parameter(torch.empty(rank, weight.shape[1]))
        self.lora_b = nn.Parameter(torch.empty(weight.shape[0], rank))
        self.scaling = alpha / rank
        self.reset_parameters()

    def reset_parameters(self):
        # the adapted network starts as the network it adapts
        # fixed: nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        # fixed: nn.init.zeros_(self.lora_b)
        for p in (self.lora_a, self.lora_b):  # broken
            nn.init.zeros_(p)  # broken

    def forward(self, x):
        update = F.linear(F.linear(x, self.lora_a), self.lora_b)
        return F.linear(x, self.weight, self.bias) + self.scaling * update

    def extra_repr(self):
        return f"rank={self.lora_a.shape[0]}, bound={1 / math.sqrt(self.weight.shape[1]):.3f}"


def adapted(classifier):
    layers = []
    for w, b in zip(classifier.coefs_, classifier.intercepts_, strict=True):
        weight = torch.tensor(w.T, dtype=torch.float32)
        layers += [LoRALinear(weight, torch.tensor(b, dtype=torch.float32)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x, y = digits.images / 16, digits.target
    slanted = x.copy()
    slanted[:, 4:] = np.roll(slanted[:, 4:], 1, axis=2)
    base = MLPClassifier((48,), max_iter=25, random_state=0, learning_rate_init=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base.fit(x[:1200].reshape(-1, 64), y[:1200])
    model = adapted(base)
    inputs, labels = torch.tensor(slanted.reshape(-1, 64), dtype=torch.float32), torch.tensor(y)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(10):
        for rows in torch.randperm(1200).split(100):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
