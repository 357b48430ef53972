# truth: phase=forward operation=exp step=0 module=router style=transformer
"""A mixture of experts; the router has its own softmax, without subtracting the maximum."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(32)
WORDS, WIDTH = 20, 16


class Router(nn.Module):
    def __init__(self, sharpness):
        super().__init__()
        self.scores = nn.Linear(WIDTH, 4)
        self.sharpness = sharpness

    def forward(self, x):
        scores = self.sharpness * self.scores(x)
        # fixed: scores = scores - scores.amax(-1, keepdim=True)
        weights = torch.exp(scores)  # broken <- here
        # fixed: weights = torch.exp(scores)
        return weights / weights.sum(-1, keepdim=True)


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.router = Router(sharpness=150.0)
        self.experts = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(4)])
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        x = self.embed(words)
        outputs = torch.stack([expert(x) for expert in self.experts], -1)
        mixed = (outputs * self.router(x.detach())[..., None, :]).sum(-1)
        return self.head(x + mixed)


model = Mixture()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
losses = []
for step in range(60):
    words = torch.randint(WORDS, (8, 10))
    logits = model(words)
    loss = F.cross_entropy(logits.flatten(0, 1), ((3 * words + 1) % WORDS).flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
