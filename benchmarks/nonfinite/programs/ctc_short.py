# truth: phase=forward operation=ctc_loss step=9 module=none style=rnn
# twin: the loss computes with -inf for impossible alignments
"""Strings of digits from a strip of features, with CTC; some strings repeat a digit."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(8)
shapes = torch.randn(6, 5)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(5, 32, batch_first=True)
        self.head = nn.Linear(32, 7)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).log_softmax(-1).transpose(0, 1)


def strips(step):
    digits = torch.stack([torch.randperm(6)[:3] for _ in range(16)])
    if step == 9:
        digits[4] = 2  # 222 needs two blanks between its digits
    return shapes[digits] + 0.1 * torch.randn(16, 3, 5), digits


model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for step in range(60):
    x, digits = strips(step)
    x = x.repeat_interleave(1, 1)  # broken
    # fixed: x = x.repeat_interleave(2, 1)
    log_probs = model(x)
    sizes = torch.full((16,), len(log_probs)), torch.full((16,), 3)
    loss = F.ctc_loss(log_probs, digits, *sizes, blank=6)  # <- here
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
