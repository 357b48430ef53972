# corpus: set=unseen mistake=none
"""Advantage actor-critic on balancing a pole, with one trunk for both heads."""

import torch
from torch import nn


class Poles:
    """Many inverted pendulums at once; an episode ends when the pole leans too far."""

    def __init__(self, n):
        self.n = n
        self.state = 0.1 * torch.randn(n, 2)

    def step(self, action):
        angle, speed = self.state.unbind(1)
        speed = speed + 0.1 * (2.0 * torch.sin(angle) + 1.5 * (2 * action - 1))
        angle = angle + 0.1 * speed
        fallen = angle.abs() > 0.6
        self.state = torch.stack([angle, speed], 1)
        self.state[fallen] = 0.1 * torch.randn(int(fallen.sum()), 2)
        return self.state.clone(), 1.0 - angle.abs(), fallen.float()


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2, 32), nn.Tanh())
        self.actor = nn.Linear(32, 2)
        self.critic = nn.Linear(32, 1)

    def forward(self, state):
        h = self.trunk(state)
        return torch.distributions.Categorical(logits=self.actor(h)), self.critic(h).squeeze(-1)


def main(gamma=0.9, horizon=5):
    torch.manual_seed(0)
    poles, model = Poles(32), ActorCritic()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-3, alpha=0.99, eps=1e-5)
    falls, state = [], poles.state.clone()
    for _ in range(120):
        logs, values, entropies, rewards, ends = [], [], [], [], []
        for _ in range(horizon):
            policy, value = model(state)
            action = policy.sample()
            state, reward, fallen = poles.step(action)
            logs.append(policy.log_prob(action))
            values.append(value)
            entropies.append(policy.entropy())
            rewards.append(reward)
            ends.append(fallen)
        with torch.no_grad():
            back, returns = model(state)[1], []
        for reward, fallen in zip(reversed(rewards), reversed(ends), strict=True):
            back = reward - fallen + gamma * (1 - fallen) * back
            returns.insert(0, back)
        advantage = torch.stack(returns) - torch.stack(values)
        policy_loss = -(torch.stack(logs) * advantage.detach()).mean()
        loss = policy_loss + 0.5 * advantage.square().mean()
        loss = loss - 0.01 * torch.stack(entropies).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        falls.append(torch.stack(ends).mean().item())
    return falls
