# corpus: set=tuned mistake=none
"""A model that returns its loss in an output object; warm-up from 0, zero_grad last."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Output:
    loss: torch.Tensor | None
    logits: torch.Tensor


class SequenceClassifier(nn.Module):
    def __init__(self, vocab=20, dim=32, labels=3):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.encoder = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.classifier = nn.Linear(dim, labels)

    def forward(self, input_ids, attention_mask, labels=None):
        h = self.encoder(self.embeddings(input_ids), src_key_padding_mask=attention_mask == 0)
        weights = attention_mask.unsqueeze(-1).float()
        logits = self.classifier((h * weights).sum(1) / weights.sum(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return Output(loss, logits)


def collate(n=32, length=10):
    labels = torch.randint(3, (n,))
    ids = torch.randint(1, 17, (n, length))
    ids[:, 1] = 17 + labels  # the word that tells the class
    size = torch.randint(4, length + 1, (n, 1))
    mask = (torch.arange(length) < size).long()
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def linear_warm_up(optimizer, warm, total):
    def factor(i):
        return i / warm if i < warm else max(0.0, (total - i) / (total - warm))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def practice():
    torch.manual_seed(0)
    model = SequenceClassifier()
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1]
    plain = [p for n, p in model.named_parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=3e-3
    )
    scheduler = linear_warm_up(optimizer, warm=5, total=2000)
    model.train()

    def step(model, optimizer, batch):
        outputs = model(**batch)
        outputs.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        return outputs.loss.item()

    return step, model, optimizer, [collate() for _ in range(30)]
