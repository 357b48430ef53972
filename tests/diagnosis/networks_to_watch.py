"""Small networks of the kinds that users watch, each with a batch and a step."""

import torch
from torch import nn

ROWS, WIDTH = 8, 6


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.out = nn.Linear(WIDTH, 2)

    def forward(self, x):
        return self.out((x + self.attention(x, x, x)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.out = kind(WIDTH, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Residual(nn.Module):
    def __init__(self, called=lambda block, step: True):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out, self.called, self.steps = nn.Linear(WIDTH, 2), called, 0

    def forward(self, x):
        for i, block in enumerate(self.blocks):
            if self.called(i, self.steps):
                x = x + block(x).relu()
        self.steps += 1
        return self.out(x)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(10, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.words(x).mean(1))


def mlp(activation=nn.ReLU, depth=2, gain=None, norm=None):
    parts = []
    for _ in range(depth):
        parts += [nn.Linear(WIDTH, WIDTH), *([norm(WIDTH)] if norm else []), activation()]
    model = nn.Sequential(*parts, nn.Linear(WIDTH, 2))
    if gain is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(gain)
    return model


def frozen():
    model = mlp()
    model[0].requires_grad_(False)
    return model


def cnn():
    convolutions = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 2))


VECTORS = torch.Size((ROWS, WIDTH))
SEQUENCES = torch.Size((ROWS, 5, WIDTH))
NETWORKS = {
    "mlp": (mlp, VECTORS),
    "linear model": (lambda: mlp(depth=0), VECTORS),
    "one module": (lambda: nn.Linear(WIDTH, 2), VECTORS),
    "tanh": (lambda: mlp(nn.Tanh), VECTORS),
    "vanishing sigmoid": (lambda: mlp(nn.Sigmoid, 10), VECTORS),
    "exploding": (lambda: mlp(nn.Identity, 8, 12.0), VECTORS),
    "saturated": (lambda: mlp(nn.Tanh, 2, 40.0), VECTORS),
    "one-sided saturated": (lambda: mlp(nn.LeakyReLU, 2, 40.0), VECTORS),
    "overflow": (lambda: mlp(nn.Identity, 6, 1e8), VECTORS),
    "zeros": (lambda: mlp(nn.Tanh, 2, 0.0), VECTORS),
    "gelu": (lambda: mlp(nn.GELU), VECTORS),
    "layer norm": (lambda: mlp(norm=nn.LayerNorm), VECTORS),
    "batch norm": (lambda: mlp(norm=nn.BatchNorm1d), VECTORS),
    "half precision": (lambda: mlp().to(torch.bfloat16), VECTORS),
    "double precision": (lambda: mlp().double(), VECTORS),
    "frozen layer": (frozen, VECTORS),
    "cnn": (cnn, torch.Size((ROWS, 1, 8, 8))),
    "rnn": (lambda: Recurrent(nn.RNN), SEQUENCES),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCES),
    "gru": (lambda: Recurrent(nn.GRU), SEQUENCES),
    "attention": (Attention, SEQUENCES),
    "transformer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(WIDTH, 2, 8, batch_first=True), nn.Linear(WIDTH, 2)
        ),
        SEQUENCES,
    ),
    "residual": (Residual, VECTORS),
    "skipped layers": (lambda: Residual(lambda block, step: (block + step) % 3 > 0), VECTORS),
    "layer never called": (lambda: Residual(lambda block, step: block != 1), VECTORS),
    "shared module": (Shared, VECTORS),
    "embedding": (Embedded, None),
}
"""By name: a function that makes the network, and the shape of a batch; None for words."""


def batch_of(shape, dtype):
    if shape is None:
        return torch.randint(0, 10, (ROWS, 5))
    return torch.randn(shape).to(dtype)
