# corpus: set=tuned mistake=none
"""REINFORCE with a learnt baseline on a short corridor; returns minus the reward of each batch."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical

LENGTH, HORIZON, GAMMA = 5, 10, 0.95


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(LENGTH, 32)
        self.action = nn.Linear(32, 2)
        self.value = nn.Linear(32, 1)

    def forward(self, place):
        h = torch.tanh(self.hidden(F.one_hot(place, LENGTH).float()))
        return Categorical(logits=self.action(h)), self.value(h).squeeze(-1)


def play(policy, n=32):
    place = torch.zeros(n, dtype=torch.long)
    log_probs, values, rewards = [], [], []
    for _ in range(HORIZON):
        choice, value = policy(place)
        action = choice.sample()
        place = (place + 2 * action - 1).clamp(0, LENGTH - 1)
        log_probs.append(choice.log_prob(action))
        values.append(value)
        rewards.append((place == LENGTH - 1).float())
    return torch.stack(log_probs), torch.stack(values), torch.stack(rewards)


def discounted(rewards):
    total, returns = torch.zeros_like(rewards[0]), []
    for reward in rewards.flip(0):
        total = reward + GAMMA * total
        returns.append(total)
    return torch.stack(returns[::-1])


def main():
    torch.manual_seed(0)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    history = []
    for episode in range(40):
        log_probs, values, rewards = play(policy)
        returns = discounted(rewards)
        advantage = returns - values.detach()
        loss = -(log_probs * advantage).sum(0).mean() + F.mse_loss(values, returns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(-rewards.sum(0).mean().item())
        if episode % 10 == 0:
            print(f"{episode}: reward {-history[-1]:.2f}")
    return history
