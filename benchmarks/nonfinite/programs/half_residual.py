# truth: phase=forward operation=add step=0 module=blocks.2 style=transformer kind=half
"""A residual sum in float16 grows from block to block, beyond 65504 in the third block."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(70)
WORDS, WIDTH = 16, 16


class Block(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.eye_(self.out.weight)
        self.gain = gain

    def forward(self, x):
        update = self.out(self.norm(x.float()).half())
        return x + self.gain * update  # broken <- here
        # fixed: return x.float() + self.gain * update.float()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList([Block(10_000.0) for _ in range(5)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        x = self.embed(words).half()
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.float()))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    words = torch.randint(WORDS, (8, 6))
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(words)
    loss = F.cross_entropy(logits.float().flatten(0, 1), ((words + 3) % WORDS).flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
