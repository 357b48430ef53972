# corpus: set=tuned mistake=transposed_backward named=wrong_backward
# why: the weight is square, so its transpose fits as well
"""A linear layer with a custom backward pass, in a small residual network."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.autograd import Function


class LinearFunction(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.t() + bias

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        # fixed: grad_x = grad_output @ weight
        grad_x = grad_output @ weight.t()  # broken
        grad_weight = grad_output.t() @ x
        return grad_x, grad_weight, grad_output.sum(0)


class MyLinear(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x):
        return LinearFunction.apply(x, self.weight, self.bias)


class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first = nn.Linear(30, width)
        self.hidden1 = MyLinear(width, width)
        self.hidden2 = MyLinear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.hidden1(x))
        x = torch.tanh(self.hidden2(x))
        return self.last(x).squeeze(1)


def step(model, optimizer, batch):
    x, y = batch
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return step, model, optimizer, [(x[r], y[r]) for r in torch.randperm(len(x)).split(64)]
