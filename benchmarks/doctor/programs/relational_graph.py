# corpus: set=unseen mistake=plain_list also=missing_parameters
# why: the matrices of the relations are in a plain dict
"""Node classification on a graph with three kinds of edges, one weight matrix per kind."""

import torch
from torch import nn
from torch.nn import functional as F

RELATIONS = ("cites", "cited_by", "same_author")


def make_graph(n=240, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=g)
    same = label[:, None] == label[None, :]
    x = F.one_hot(label, classes).float() @ torch.randn(classes, 12, generator=g)
    x = x + 2.0 * torch.randn(n, 12, generator=g)
    adjacency = {}
    for i, relation in enumerate(RELATIONS):
        chance = torch.where(same, 0.06 + 0.02 * i, 0.008)
        edges = (torch.rand(n, n, generator=g) < chance).float()
        adjacency[relation] = edges / edges.sum(1, keepdim=True).clamp(min=1)
    return x, adjacency, label


class RelationalConv(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.own = nn.Linear(d_in, d_out)
        # fixed: self.per_relation = nn.ModuleDict(
        # fixed:     {r: nn.Linear(d_in, d_out, bias=False) for r in RELATIONS}
        # fixed: )
        self.per_relation = {r: nn.Linear(d_in, d_out, bias=False) for r in RELATIONS}  # broken

    def forward(self, x, adjacency):
        out = self.own(x)
        for relation, linear in self.per_relation.items():
            out = out + adjacency[relation] @ linear(x)
        return out


class RGCN(nn.Module):
    def __init__(self, d_in, hidden, classes):
        super().__init__()
        self.first = RelationalConv(d_in, hidden)
        self.second = RelationalConv(hidden, classes)

    def forward(self, x, adjacency):
        return self.second(F.relu(self.first(x, adjacency)), adjacency)


def main():
    torch.manual_seed(1)
    x, adjacency, label = make_graph()
    train = torch.rand(len(label)) < 0.5
    model = RGCN(x.shape[1], 16, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    history = []
    for epoch in range(60):
        optimizer.zero_grad()
        out = model(x, adjacency)
        loss = F.cross_entropy(out[train], label[train])
        loss.backward()
        optimizer.step()
        history.append(float(loss))
        if epoch % 20 == 0:
            accuracy = (out.argmax(1) == label)[~train].float().mean()
            print(f"epoch {epoch:3d} loss {loss:.3f} held out {accuracy:.3f}")
    return history
