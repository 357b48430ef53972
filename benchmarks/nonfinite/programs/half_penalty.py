# truth: phase=forward operation=pow,square step=3 module=none style=transformer kind=half
"""A penalty on float16 activations: the square of an activation above 256 is infinite."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(69)
WORDS, WIDTH = 16, 16


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.lift = nn.Linear(WIDTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words, volume):
        hidden = self.lift(volume * self.embed(words))
        x = hidden.tanh()
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x), hidden


def penalty(hidden):
    return hidden.pow(2).mean()  # broken <- here
    # fixed: return hidden.float().clamp(-100, 100).pow(2).mean()


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    words, volume = torch.randint(WORDS, (8, 6)), torch.ones(8, 6, 1)
    if step == 3:
        volume[2, 4] = 400.0
    with torch.autocast("cpu", dtype=torch.float16):
        logits, hidden = model(words, volume)
        loss = F.cross_entropy(logits.float().flatten(0, 1), ((words + 5) % WORDS).flatten())
        loss = loss + 1e-3 * penalty(hidden)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
