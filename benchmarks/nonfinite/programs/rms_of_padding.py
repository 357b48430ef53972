# truth: phase=forward operation=rsqrt step=0 module=blocks.0.norm style=transformer
"""Copying the first word; the padding word has the embedding 0, and the norm has no epsilon."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(11)
WORDS, LENGTH, WIDTH = 10, 6, 16


class RMSNorm(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.eps = eps

    def forward(self, x):
        mean_square = x.square().mean(-1, keepdim=True)
        return self.scale * x * torch.rsqrt(mean_square + self.eps)  # <- here


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = RMSNorm(eps=0.0)  # broken
        # fixed: self.norm = RMSNorm(eps=1e-6)
        self.mix = nn.Linear(LENGTH, LENGTH)
        self.widen = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        mixed = self.mix(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.widen(mixed.relu())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        x = self.embed(words)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, -1])


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    words = torch.randint(1, WORDS, (32, LENGTH))
    words[torch.arange(LENGTH) >= torch.randint(2, LENGTH + 1, (32, 1))] = 0
    loss = F.cross_entropy(model(words), words[:, 0])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
