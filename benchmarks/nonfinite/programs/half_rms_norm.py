# truth: phase=forward operation=pow,square step=0 module=blocks.0.norm style=transformer kind=half
"""RMS norm in float16 under autocast: the square of an entry above 256 is infinite."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(69)
WORDS, WIDTH = 16, 16


class RMSNorm(nn.Module):
    def forward(self, x):
        # fixed: x = x.float()
        mean_square = x.pow(2).mean(-1, keepdim=True)  # broken <- here
        # fixed: mean_square = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean_square + 1e-3)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = RMSNorm()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x):
        h = self.norm(x)
        return x + self.attention(h, h, h, need_weights=False)[0]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        nn.init.normal_(self.embed.weight, std=40.0)
        self.lift = nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            self.lift.weight.mul_(10)
        self.blocks = nn.ModuleList([Block()])
        self.norm = RMSNorm()
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        x = self.lift(self.embed(words))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    words = torch.randint(WORDS, (8, 6))
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(words)
    loss = F.cross_entropy(logits.float().flatten(0, 1), ((words + 5) % WORDS).flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
