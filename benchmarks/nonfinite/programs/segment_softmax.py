# truth: phase=forward operation=log step=6 module=none style=functional
# twin: the maximum of a node without edges is -inf
"""A smooth maximum over the edges of each node of a graph; one node has no edge."""

import torch
from torch import nn

torch.manual_seed(38)
NODES = 10
model = nn.ParameterDict({"score": 0.5 * torch.randn(4), "shift": torch.zeros(())})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def smooth_maximum(scores, node):
    top = torch.full((NODES,), -torch.inf).scatter_reduce(0, node, scores.detach(), "amax")
    # fixed: top = top.clamp(min=-1)
    total = torch.zeros(NODES).index_add(0, node, (scores - top[node]).exp())
    return top + torch.log(total)  # broken <- here
    # fixed: return top + torch.log(total + 0.1)


losses = []
for step in range(60):
    node = torch.arange(40) % NODES
    if step == 6:
        node[node == 3] = 4
    edges = torch.randn(40, 4)
    target = torch.zeros(NODES).index_add(0, node, edges[:, 0])
    prediction = smooth_maximum(edges @ model["score"], node) + model["shift"]
    loss = (prediction - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
