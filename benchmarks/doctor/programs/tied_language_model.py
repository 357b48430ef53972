# corpus: set=tuned mistake=none
"""A causal Transformer over characters whose output layer is its embedding (weight tying)."""

import torch
import torch.nn.functional as F
from torch import nn

TEXT = "a rose is a rose is a rose, and a daisy is a daisy is a daisy. " * 20
VOCAB = sorted(set(TEXT))


class Decoder(nn.Module):
    def __init__(self, vocab, dim=32, context=32):
        super().__init__()
        self.wte = nn.Embedding(vocab, dim)
        self.wpe = nn.Embedding(context, dim)
        self.block = nn.TransformerEncoderLayer(
            dim, 2, 4 * dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab, bias=False)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids, targets=None):
        T = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(T)
        h = self.wte(ids) + self.wpe(torch.arange(T))
        logits = self.lm_head(self.norm(self.block(h, src_mask=mask, is_causal=True)))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def step(model, optimizer, batch):
    _, loss = model(*batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    ids = torch.tensor([VOCAB.index(c) for c in TEXT])
    windows = ids.unfold(0, 33, 1)
    batches = [windows[torch.randint(len(windows), (16,))] for _ in range(30)]
    model = Decoder(len(VOCAB))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return step, model, optimizer, [(b[:, :-1], b[:, 1:]) for b in batches]
