# truth: phase=update operation=div,reciprocal step=5 module=none style=rnn
"""Each gradient is scaled to the norm 0.1 before the update; one gradient is 0."""

import torch
from torch import nn

torch.manual_seed(82)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.rnn = nn.RNN(8, 12, batch_first=True)
        self.extra = nn.Linear(1, 12, bias=False)
        self.head = nn.Linear(12, 1)

    def forward(self, words, tempo):
        h = self.rnn(self.embed(words))[0][:, -1]
        return self.head(h + self.extra(tempo)).squeeze(1)


def rescale(parameters, size):
    with torch.no_grad():
        for p in parameters:
            norm = p.grad.norm()
            p.grad *= size / norm  # broken <- here
            # fixed: p.grad *= size / (norm + 1e-3)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(60):
    words, tempo = torch.randint(9, (32, 5)), torch.rand(32, 1)
    if step == 5:
        tempo[:] = 0
    y = words[:, -1] / 9 - tempo.squeeze(1)
    loss = (model(words, tempo) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    rescale(model.parameters(), 0.1)
    optimizer.step()
    losses.append(loss.item())
