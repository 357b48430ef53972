# corpus: set=unseen mistake=none
"""A sequence model that writes a number backwards; 0 is padding, and is not learned."""

import torch
from torch import nn

PAD, START, END = 0, 1, 2


def numbers(n=600, longest=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    source = torch.full((n, longest), PAD)
    target = torch.full((n, longest + 2), PAD)
    for i, length in enumerate(torch.randint(3, longest + 1, (n,), generator=g).tolist()):
        digits = torch.randint(3, 9, (length,), generator=g)
        source[i, :length] = digits
        ends = torch.tensor([START]), digits.flip(0), torch.tensor([END])
        target[i, : length + 2] = torch.cat(ends)
    return source, target


class Seq2Seq(nn.Module):
    def __init__(self, dim=32, words=9):
        super().__init__()
        self.embed = nn.Embedding(words, dim, padding_idx=PAD)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(2 * dim, words)

    def forward(self, source, shifted):
        memory, state = self.encoder(self.embed(source))
        hidden, _ = self.decoder(self.embed(shifted), state)
        score = hidden @ memory.transpose(1, 2) / memory.shape[-1] ** 0.5
        score = score.masked_fill((source == PAD).unsqueeze(1), float("-inf"))
        return self.out(torch.cat([hidden, score.softmax(-1) @ memory], dim=-1))


def main():
    torch.manual_seed(0)
    source, target = numbers()
    model = Seq2Seq()
    weight = torch.ones(9)
    weight[END] = 0.5
    criterion = nn.CrossEntropyLoss(weight=weight, ignore_index=PAD, label_smoothing=0.05)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        for rows in torch.randperm(len(source)).split(50):
            logits = model(source[rows], target[rows, :-1])
            loss = criterion(logits.transpose(1, 2), target[rows, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
