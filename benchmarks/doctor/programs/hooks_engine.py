# corpus: set=tuned mistake=clip_before_backward
# why: in before_backward, where every gradient is zero
"""An engine with overridable hooks, and a recurrent network on the adding problem."""

import torch
from torch import nn


class Engine:
    def __init__(self, model, optimizer):
        self.model = model
        self.optimizer = optimizer

    def before_backward(self, loss):
        pass

    def after_backward(self, loss):
        pass

    def compute_loss(self, batch):
        raise NotImplementedError

    def run(self, batches):
        for batch in batches:
            loss = self.compute_loss(batch)
            self.optimizer.zero_grad(set_to_none=False)
            self.before_backward(loss)
            loss.backward()
            self.after_backward(loss)
            self.optimizer.step()


class AddingEngine(Engine):
    max_norm = 0.1

    def compute_loss(self, batch):
        x, y = batch
        return nn.functional.mse_loss(self.model(x), y)

    # fixed: def after_backward(self, loss):
    # fixed:     nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
    def before_backward(self, loss):  # broken
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)  # broken

    def after_backward(self, loss):  # broken
        self.last_loss = loss.item()


class Adder(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        _, h = self.rnn(x)
        return self.out(h[-1])


def adding_problem(n, length=12):
    values = torch.rand(n, length)
    marks = torch.zeros(n, length)
    marks.scatter_(1, torch.rand(n, length).topk(2).indices, 1.0)
    return torch.stack([values, marks], dim=2), (values * marks).sum(1, keepdim=True)


def main():
    torch.manual_seed(0)
    model = Adder()
    engine = AddingEngine(model, torch.optim.SGD(model.parameters(), lr=0.05))
    engine.run(adding_problem(32) for _ in range(100))
    print(engine.last_loss)
