# corpus: set=unseen mistake=none
"""Sequences classified by a small transformer, with the library's warm-up from a rate of 0."""

import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup


def sequences(n=640, length=10, seed=0):
    """Tokens 1 ... 9; the label is whether there are more above 5 than below."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 10, (n, length), generator=g)
    return ids, ((ids > 5).sum(1) > (ids < 5).sum(1)).long()


class Encoder(nn.Module):
    def __init__(self, dim=32, length=10):
        super().__init__()
        self.token = nn.Embedding(10, dim, padding_idx=0)
        self.place = nn.Parameter(0.02 * torch.randn(length, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(dim, 2)

    def forward(self, ids, labels):
        logits = self.classifier(self.encoder(self.token(ids) + self.place).mean(1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main():
    torch.manual_seed(0)
    ids, labels = sequences()
    model = Encoder()
    no_decay = [p for p in model.parameters() if p.dim() < 2]
    decay = [p for p in model.parameters() if p.dim() >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}],
        lr=3e-3,
    )
    epochs, rows_per_batch = 8, 32
    total = epochs * len(ids) // rows_per_batch
    schedule = get_linear_schedule_with_warmup(optimizer, total // 10, total)
    losses = []
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(ids)).split(rows_per_batch):
            outputs = model(ids[rows], labels=labels[rows])
            outputs["loss"].backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(outputs["loss"].item())
    return losses
