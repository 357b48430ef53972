# corpus: set=unseen mistake=none
"""Double Q-learning on a chain of rooms, with a target network that follows slowly."""

import copy
import random

import torch
from torch import nn
from torch.nn import functional as F

ROOMS, GAMMA, TAU = 8, 0.9, 0.05


def move(room, action):
    after = max(0, min(ROOMS - 1, room + (1 if action else -1)))
    done = after == ROOMS - 1
    return after, float(done), done


def q_network():
    return nn.Sequential(nn.Embedding(ROOMS, 16), nn.ReLU(), nn.Linear(16, 2))


class Learner:
    def __init__(self):
        self.online = q_network()
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.online.parameters(), lr=0.01)

    def learn(self, room, action, reward, after, done):
        q = self.online(room).gather(1, action.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            best = self.online(after).argmax(1, keepdim=True)
            future = self.target(after).gather(1, best).squeeze(1)
            goal = reward + GAMMA * future * (1 - done)
        loss = F.smooth_l1_loss(q, goal)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.online.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            pairs = zip(self.target.parameters(), self.online.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, TAU)
        return loss.item()


def distance(q):
    """Mean error of the values against the true ones of the best policy."""
    with torch.no_grad():
        value = q(torch.arange(ROOMS - 1)).max(1).values
    return (value - GAMMA ** torch.arange(ROOMS - 2, -1, -1)).abs().mean().item()


def main():
    torch.manual_seed(0)
    rng = random.Random(0)
    memory = []
    for _ in range(600):
        room, action = rng.randrange(ROOMS - 1), rng.randrange(2)
        memory.append((room, action, *move(room, action)))
    learner, errors = Learner(), []
    for _ in range(400):
        rows = rng.sample(memory, 32)
        room, action, after, reward, done = (torch.tensor(c) for c in zip(*rows, strict=True))
        learner.learn(room, action, reward, after, done.float())
        errors.append(distance(learner.online))
    return errors
