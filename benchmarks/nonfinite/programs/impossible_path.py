# truth: phase=forward operation=logsumexp step=4 module=none style=functional
# twin: forbidden transitions have the log-probability -inf
"""A hidden Markov model in log space; one observed sequence is impossible in every state."""

import torch
from torch import nn

torch.manual_seed(47)
STATES, SYMBOLS, LENGTH = 3, 4, 6
model = nn.ParameterDict(
    {
        "transition": 0.3 * torch.randn(STATES, STATES),
        "emission": 0.3 * torch.randn(STATES, SYMBOLS),
    }
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
forbidden = torch.zeros(STATES, SYMBOLS, dtype=torch.bool)
forbidden[:, 3] = True  # broken
# fixed: forbidden[:2, 3] = True


def log_likelihood(symbols):
    transition = model["transition"].log_softmax(1)
    emission = model["emission"].masked_fill(forbidden, -torch.inf).log_softmax(1)
    alpha = torch.full((len(symbols), STATES), -1.1)
    for t in range(LENGTH):
        seen = emission[:, symbols[:, t]].T
        alpha = torch.logsumexp(alpha[:, :, None] + transition, 1) + seen
    return torch.logsumexp(alpha, 1)  # <- here


losses = []
for step in range(60):
    symbols = (torch.randint(3, (16, 1)) + torch.arange(LENGTH)) % 3
    if step == 4:
        symbols[9, LENGTH - 1] = 3
    loss = -log_likelihood(symbols).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
