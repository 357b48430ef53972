# corpus: set=tuned mistake=detach_in_path
# why: nothing flows back into the encoder
"""An encoder-decoder LSTM that learns to write a sequence of symbols backwards."""

import torch
from torch import nn

VOCAB, LENGTH, START = 8, 6, 0


class Encoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)

    def forward(self, tokens):
        _, (h, c) = self.lstm(self.embed(tokens))
        # fixed: return h, c
        return h.detach(), c.detach()  # broken


class Decoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, tokens, state):
        hidden, state = self.lstm(self.embed(tokens), state)
        return self.out(hidden), state


class Seq2Seq(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.encoder = Encoder(dim)
        self.decoder = Decoder(dim)

    def forward(self, source, target):
        start = torch.full_like(target[:, :1], START)
        inputs = torch.cat([start, target[:, :-1]], dim=1)  # teacher forcing
        logits, _ = self.decoder(inputs, self.encoder(source))
        return logits


def update(model, optimizer, batch):
    source, target = batch
    optimizer.zero_grad()
    logits = model(source, target)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    model = Seq2Seq()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    sources = torch.randint(1, VOCAB, (20, 64, LENGTH))
    return update, model, optimizer, [(s, s.flip(1)) for s in sources]
