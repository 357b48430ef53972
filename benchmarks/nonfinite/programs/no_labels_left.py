# truth: phase=forward operation=nll_loss,nll_loss_forward,cross_entropy step=7
# truth: module=none style=transformer
"""A masked language model; by chance no word of a batch is masked."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(42)
WORDS, LENGTH, WIDTH = 12, 6, 16
MASK, IGNORE = 0, -100


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        return self.head(self.encoder(self.embed(words) + self.place))


def batch(step):
    words = 1 + (torch.randint(11, (16, 1)) + torch.arange(LENGTH)) % 11
    masked = torch.rand(16, LENGTH) < (0.0 if step == 7 else 0.2)
    return words.masked_fill(masked, MASK), words.masked_fill(~masked, IGNORE)


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
losses = []
for step in range(60):
    words, labels = batch(step)
    # fixed: labels[0, 0] = words[0, 0]
    logits = model(words).flatten(0, 1)
    loss = F.cross_entropy(logits, labels.flatten(), ignore_index=IGNORE)  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
