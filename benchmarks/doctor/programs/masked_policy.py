# corpus: set=tuned mistake=log_of_zero
# why: actions that are not allowed have probability 0, and 0 log 0 is nan
# crashes: probability tensor contains
"""Actor-critic on a corridor where some actions are not allowed."""

import torch
import torch.nn.functional as F
from torch import nn

N_STATES, N_ACTIONS, BETA = 10, 4, 0.01


class ActorCritic(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(N_STATES, hidden), nn.Tanh())
        self.actor = nn.Linear(hidden, N_ACTIONS)
        self.critic = nn.Linear(hidden, 1)

    def forward(self, state, allowed):
        h = self.trunk(state)
        logits = self.actor(h).masked_fill(~allowed, float("-inf"))
        return F.softmax(logits, dim=-1), self.critic(h).squeeze(-1)


def rollout(n=64):
    index = torch.randint(N_STATES, (n,))
    allowed = torch.ones(n, N_ACTIONS, dtype=torch.bool)
    allowed[index == 0, 0] = False
    allowed[index == N_STATES - 1, 1] = False
    return F.one_hot(index, N_STATES).float(), allowed, index


def reward_of(index, action):
    return (action == index % 2 + 1).float()


def update(model, optimizer, batch):
    state, allowed, index = batch
    probs, value = model(state, allowed)
    action = torch.multinomial(probs.detach(), 1).squeeze(1)
    reward = reward_of(index, action)
    advantage = (reward - value).detach()

    chosen = probs.gather(1, action[:, None]).squeeze(1)
    policy_loss = -(torch.log(chosen) * advantage).mean()
    value_loss = F.mse_loss(value, reward)
    # fixed: entropy = -(probs * torch.log(probs.clamp_min(1e-8))).sum(1).mean()
    entropy = -(probs * torch.log(probs)).sum(1).mean()  # broken
    loss = policy_loss + 0.5 * value_loss - BETA * entropy

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return update, model, optimizer, [rollout() for _ in range(20)]
