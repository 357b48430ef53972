# corpus: set=unseen mistake=clip_before_backward also=learning_rate
# why: at that moment there is nothing to clip
"""A character LSTM; the session object keeps all that training needs."""

import torch
from torch import nn

TEXT = "peter piper picked a peck of pickled peppers. a peck of peppers peter piper picked. " * 20


class CharLSTM(nn.Module):
    def __init__(self, vocabulary, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 16)
        self.lstm = nn.LSTM(16, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, ids):
        return self.out(self.lstm(self.embed(ids))[0])


class Session:
    def __init__(self, model, lr, max_norm):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.max_norm = max_norm
        self.losses = []

    def compute_loss(self, x, y):
        return nn.functional.cross_entropy(self.model(x).transpose(1, 2), y)

    def clip(self):
        return nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)

    def update(self, x, y):
        loss = self.compute_loss(x, y)
        self.optimizer.zero_grad()
        # fixed: loss.backward()
        # fixed: norm = self.clip()
        norm = self.clip()  # broken
        loss.backward()  # broken
        self.optimizer.step()
        self.losses.append(loss.item())
        return norm


def main():
    torch.manual_seed(0)
    letters = sorted(set(TEXT))
    ids = torch.tensor([letters.index(c) for c in TEXT])
    session = Session(CharLSTM(len(letters)), lr=8.0, max_norm=0.1)
    for _ in range(80):
        start = torch.randint(len(ids) - 25, (16,))
        rows = torch.stack([ids[s : s + 25] for s in start])
        session.update(rows[:, :-1], rows[:, 1:])
    return session.losses
