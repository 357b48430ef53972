# corpus: set=unseen mistake=missing_parameters
# why: the weights of the layer norms are neither matrices nor biases, so in neither group
"""A small character model, trained the way the large ones are: weight decay by parameter group."""

import torch
from torch import nn
from torch.nn import functional as F

TEXT = "she sells sea shells by the sea shore. the shells she sells are sea shells for sure. " * 30


class Block(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.norm_att = nn.LayerNorm(dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.att = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, mask):
        h = self.norm_att(x)
        x = x + self.att(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norm_mlp(x))


class CharModel(nn.Module):
    def __init__(self, vocabulary, dim=32, length=24):
        super().__init__()
        self.token = nn.Embedding(vocabulary, dim)
        self.position = nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(2))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocabulary)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.token(ids) + self.position(torch.arange(length))
        mask = torch.full((length, length), float("-inf")).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


class Trainer:
    def __init__(self, model, ids, length=24, batch=16):
        self.model, self.ids, self.length, self.batch = model, ids, length, batch
        self.optimizer = self.create_optimizer()

    def create_optimizer(self, lr=3e-3, weight_decay=0.1):
        named = list(self.model.named_parameters())
        decay = [p for name, p in named if p.dim() >= 2]
        # fixed: no_decay = [p for name, p in named if p.dim() < 2]
        no_decay = [p for name, p in named if name.endswith("bias")]  # broken
        groups = [
            {"params": decay, "weight_decay": weight_decay},
            {"params": no_decay, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=lr)

    def get_batch(self):
        starts = torch.randint(len(self.ids) - self.length - 1, (self.batch,))
        rows = torch.stack([self.ids[s : s + self.length + 1] for s in starts])
        return rows[:, :-1], rows[:, 1:]

    def train(self, steps):
        losses = []
        for _ in range(steps):
            x, y = self.get_batch()
            loss = F.cross_entropy(self.model(x).flatten(0, 1), y.flatten())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return losses


def main():
    torch.manual_seed(0)
    letters = sorted(set(TEXT))
    ids = torch.tensor([letters.index(c) for c in TEXT])
    return Trainer(CharModel(len(letters)), ids).train(80)
