# truth: phase=update operation=adagrad,addcdiv step=0 module=none style=transformer kind=half
"""Adagrad on float16 embeddings: words that do not occur have the sum 0, and 0 / 0 is NaN."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(77)
WORDS, LENGTH, WIDTH = 60, 6, 16


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.query = nn.Parameter(torch.randn(WIDTH))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, words):
        x = self.embed(words)
        weights = (x @ self.query / 4).softmax(1)
        return self.head((weights[..., None] * x).sum(1))


model = Net().half()
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)  # broken
# fixed: optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, eps=1e-3)
losses = []
for step in range(60):
    words = torch.randint(WORDS // 2, (32, LENGTH))
    label = (words < 5).sum(1).clamp(max=2)
    loss = F.cross_entropy(model(words).float(), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- here
    losses.append(loss.item())
