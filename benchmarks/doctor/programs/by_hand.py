# corpus: set=tuned mistake=large_weights
# why: weights of deviation 1 into 100 units: every tanh is saturated
"""A deep tanh network in functional style: parameters in a list, no modules."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

SIZES = [64, 100, 100, 100, 100, 10]


def init_params(sizes):
    params = []
    for n_in, n_out in pairwise(sizes):
        # fixed: params.append(torch.randn(n_in, n_out).div_(n_in**0.5).requires_grad_())
        params.append(torch.randn(n_in, n_out, requires_grad=True))  # broken
        params.append(torch.zeros(n_out, requires_grad=True))
    return params


def forward(params, x):
    *hidden, W, b = params
    for i in range(0, len(hidden), 2):
        x = torch.tanh(x @ hidden[i] + hidden[i + 1])
    return x @ W + b


def loss_fn(params, x, y):
    return F.cross_entropy(forward(params, x), y)


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    params = init_params(SIZES)
    optimizer = torch.optim.Adam(params, lr=1e-3)
    for epoch in range(3):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = loss_fn(params, x[rows], y[rows])
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
