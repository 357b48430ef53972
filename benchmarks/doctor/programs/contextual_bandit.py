# corpus: set=unseen mistake=broadcast_target
# why: gather leaves (N, 1), rewards are (N,)
"""A contextual bandit: learn what each arm pays in a context, and pull the best one mostly."""

import torch
from torch import nn

ARMS = 4


class Bandit:
    def __init__(self, seed=0):
        self.g = torch.Generator().manual_seed(seed)
        self.w = torch.randn(6, ARMS, generator=self.g)

    def contexts(self, n):
        return torch.randn(n, 6, generator=self.g)

    def pull(self, context, arm):
        mean = torch.tanh(context @ self.w).gather(1, arm[:, None])[:, 0]
        return mean + 0.1 * torch.randn(len(arm), generator=self.g)


class Agent:
    def __init__(self, epsilon=0.2):
        self.q = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, ARMS))
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=0.01)
        self.epsilon = epsilon

    @torch.no_grad()
    def act(self, context):
        best = self.q(context).argmax(1)
        explore = torch.rand(len(context)) < self.epsilon
        return torch.where(explore, torch.randint(ARMS, best.shape), best)

    def learn(self, context, arm, reward):
        # fixed: value = self.q(context).gather(1, arm.unsqueeze(1)).squeeze(1)
        value = self.q(context).gather(1, arm.unsqueeze(1))  # broken
        error = reward - value
        loss = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    torch.manual_seed(0)
    bandit, agent = Bandit(), Agent()
    losses, rewards = [], []
    for _ in range(200):
        context = bandit.contexts(64)
        arm = agent.act(context)
        reward = bandit.pull(context, arm)
        losses.append(agent.learn(context, arm, reward))
        rewards.append(reward.mean().item())
    print(f"mean reward of the last 20 rounds {sum(rewards[-20:]) / 20:.3f}")
    return losses
