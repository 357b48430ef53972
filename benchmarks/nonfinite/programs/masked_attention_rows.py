# truth: phase=forward operation=softmax step=5 module=blocks.0.attention style=transformer
# twin: the mask of the attention holds -inf
"""Which of two words occurs more often; documents end at an end-of-text word."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(4)
WORDS, LENGTH, WIDTH = 12, 9, 24
END = 0


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, visible):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / WIDTH**0.5
        scores = scores.masked_fill(~visible[:, None, :], float("-inf"))
        return self.out(scores.softmax(-1) @ v)  # <- here


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()

    def forward(self, x, visible):
        return x + self.attention(self.norm(x), visible)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, words):
        visible = (words == END).cumsum(1) == 0  # broken
        # fixed: visible = (words == END).cumsum(1) - (words == END).long() == 0
        x = self.embed(words)
        for block in self.blocks:
            x = block(x, visible)
        return self.head((x * visible[..., None]).sum(1) / LENGTH)


def documents(step):
    words = torch.randint(1, WORDS, (32, LENGTH))
    words[torch.arange(32), torch.randint(4, LENGTH, (32,))] = END
    if step == 5:
        words[11, 0] = END  # an empty document
    return words, ((words == 7).sum(1) > (words == 8).sum(1)).long()


model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    words, label = documents(step)
    loss = F.cross_entropy(model(words), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
