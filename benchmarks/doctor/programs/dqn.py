# corpus: set=tuned mistake=none
"""Deep Q-learning with a replay memory and a slow target network; returns minus the rewards."""

import copy
import random
from collections import deque

import torch
import torch.nn.functional as F
from torch import nn

LENGTH, HORIZON, GAMMA, TAU = 4, 12, 0.9, 0.05


def observe(place):
    return F.one_hot(torch.tensor(place), LENGTH).float()


def move(place, action):
    place = min(max(place + 2 * action - 1, 0), LENGTH - 1)
    done = place == LENGTH - 1
    return place, float(done), done


class Agent:
    def __init__(self):
        self.q = nn.Sequential(nn.Linear(LENGTH, 32), nn.ReLU(), nn.Linear(32, 2))
        self.target = copy.deepcopy(self.q).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.q.parameters(), lr=5e-3)
        self.memory = deque(maxlen=2000)

    @torch.no_grad()
    def act(self, state, epsilon):
        if random.random() < epsilon:
            return random.randrange(2)
        return self.q(state).argmax().item()

    def learn(self, batch_size=32):
        if len(self.memory) < batch_size:
            return
        state, action, reward, after, done = zip(
            *random.sample(self.memory, batch_size), strict=True
        )
        state, after = torch.stack(state), torch.stack(after)
        action, reward, done = torch.tensor(action), torch.tensor(reward), torch.tensor(done)
        q = self.q(state).gather(1, action.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            expected = reward + GAMMA * self.target(after).max(1).values * ~done
        loss = F.smooth_l1_loss(q, expected)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.q.parameters(), 100)
        self.optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.q.parameters(), strict=True):
                slow.lerp_(fast, TAU)


def main():
    random.seed(0)
    torch.manual_seed(0)
    agent, history = Agent(), []
    for episode in range(60):
        place, steps = 0, 0
        for _ in range(HORIZON):
            state = observe(place)
            action = agent.act(state, epsilon=max(0.05, 0.8 - episode / 40))
            place, reward, done = move(place, action)
            agent.memory.append((state, action, reward, observe(place), done))
            agent.learn()
            steps += 1
            if done:
                break
        history.append(steps)
    return history
