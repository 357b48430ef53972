# corpus: set=unseen mistake=log_of_zero
# why: forbidden moves have the probability 0, and 0 times log 0 is NaN
"""REINFORCE with an entropy bonus, in a game where some moves are not allowed."""

import torch
from torch import nn

MOVES = 6


class Game:
    """One move per round; it pays if the move fits the hidden rule, and some are forbidden."""

    def __init__(self, seed=0):
        self.g = torch.Generator().manual_seed(seed)
        self.rule = torch.randn(8, MOVES, generator=self.g)

    def deal(self, n):
        state = torch.randn(n, 8, generator=self.g)
        allowed = torch.rand(n, MOVES, generator=self.g) < 0.7
        allowed[:, 0] = True
        return state, allowed

    def pay(self, state, move):
        return (state @ self.rule).softmax(1).gather(1, move[:, None]).squeeze(1)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, MOVES))

    def forward(self, state, allowed):
        return self.net(state).masked_fill(~allowed, float("-inf")).softmax(dim=-1)


def reinforce_loss(probs, move, reward, beta=0.01):
    chosen = probs.gather(1, move[:, None]).squeeze(1)
    advantage = reward - reward.mean()
    # fixed: entropy = -(probs * torch.log(probs.clamp(min=1e-8))).sum(dim=1)
    entropy = -(probs * torch.log(probs)).sum(dim=1)  # broken
    return -(advantage * torch.log(chosen)).mean() - beta * entropy.mean()


def main():
    torch.manual_seed(0)
    game, policy = Game(), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    regret = []
    for _ in range(150):
        state, allowed = game.deal(64)
        probs = policy(state, allowed)
        with torch.no_grad():
            # argmax of p / Exp(1) is a draw from p
            move = (probs / torch.empty_like(probs).exponential_()).argmax(1)
        reward = game.pay(state, move)
        loss = reinforce_loss(probs, move, reward)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        regret.append(1 - reward.mean().item())
    print(f"regret {sum(regret[:10]) / 10:.3f} at first, {sum(regret[-10:]) / 10:.3f} at last")
    return regret
