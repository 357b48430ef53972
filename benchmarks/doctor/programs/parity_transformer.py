# corpus: set=tuned mistake=plain_list also=missing_parameters
# why: the model does not contain the blocks: it has 514 parameters
"""A Transformer that marks, at each position, the parity of the bits so far."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x, mask):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Tagger(nn.Module):
    def __init__(self, dim=32, heads=4, depth=2, length=12):
        super().__init__()
        self.token = nn.Embedding(2, dim)
        self.position = nn.Parameter(0.02 * torch.randn(length, dim))
        # fixed: self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.blocks = [Block(dim, heads) for _ in range(depth)]  # broken
        self.head = nn.Linear(dim, 2)
        mask = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        self.register_buffer("mask", mask)

    def forward(self, bits):
        x = self.token(bits) + self.position
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(x)


def main():
    torch.manual_seed(0)
    model = Tagger()
    n = sum(p.numel() for p in model.parameters())
    print(f"{n} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    for i in range(80):
        bits = torch.randint(0, 2, (32, 12))
        parity = bits.cumsum(1) % 2
        loss = criterion(model(bits).view(-1, 2), parity.view(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if i % 20 == 0:
            print(i, round(loss.item(), 4))
