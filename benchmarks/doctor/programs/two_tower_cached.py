# corpus: set=unseen mistake=detach_in_path named=no_grad_in_path
# why: encode is without gradients, and training uses it; only the scale learns
"""A search model with two towers; the towers' outputs are also written to an index."""

import torch
from torch import nn
from torch.nn import functional as F


class Tower(nn.Module):
    def __init__(self, words, dim=16):
        super().__init__()
        self.words = nn.EmbeddingBag(words, dim)
        self.project = nn.Linear(dim, dim)

    @torch.no_grad()  # broken
    def encode(self, ids):
        """Return unit vectors, for training and for the index."""
        return F.normalize(self.project(torch.tanh(self.words(ids))), dim=-1)


class SearchModel(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.query = Tower(words)
        self.document = Tower(words)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, queries, documents):
        q, d = self.query.encode(queries), self.document.encode(documents)
        return self.log_scale.exp() * q @ d.T

    def build_index(self, documents):
        return self.document.encode(documents)


def pairs(n, topics=20, per_topic=10, seed=0):
    """Queries and documents: words of one topic, three and eight of them."""
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(topics, (n, 1), generator=g)
    queries = topic * per_topic + torch.randint(per_topic, (n, 3), generator=g)
    documents = topic * per_topic + torch.randint(per_topic, (n, 8), generator=g)
    return queries, documents


def main():
    torch.manual_seed(0)
    queries, documents = pairs(800)
    model = SearchModel(200)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        for rows in torch.randperm(800).split(40):
            logits = model(queries[rows], documents[rows])
            loss = F.cross_entropy(logits, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    print("index", tuple(model.build_index(documents).shape))
    return losses
