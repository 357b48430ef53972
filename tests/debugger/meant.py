"""Correct training that looks like a mistake, and is meant: each function trains by itself."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.debugger.right import blobs, mlp


def gradients_set_by_hand():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        loss = F.cross_entropy(model(x), y)
        grads = torch.autograd.grad(loss, [*model.parameters()])
        for p, grad in zip(model.parameters(), grads, strict=True):
            p.grad = grad
        optimizer.step()
        print(loss.item())


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mask, scale):
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return x * mask * scale

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask * ctx.scale, None, None


def no_gradient_for_the_mask():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        h = torch.relu(model[0](x))
        mask = (torch.rand_like(h) > 0.5).float()
        F.cross_entropy(model[2](Masked.apply(h, mask, 2.0)), y).backward()
        optimizer.step()


class LearnedStep(torch.autograd.Function):
    """S. K. Esser et al., Learned step size quantization (2020), equations 1 to 3."""

    @staticmethod
    def forward(ctx, v, s):
        q = (v / s).round().clamp(-8, 7)
        ctx.save_for_backward(v, s, q)
        return q * s

    @staticmethod
    def backward(ctx, grad):
        v, s, q = ctx.saved_tensors
        inside = (v / s >= -8) & (v / s <= 7)
        return grad * inside, (grad * torch.where(inside, q - v / s, q)).sum().reshape(s.shape)


def straight_through_in_one_argument():
    x, y = blobs()
    model, s = mlp(10, 32, 3), nn.Parameter(torch.tensor(0.1))
    optimizer = torch.optim.Adam([*model.parameters(), s], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        h = F.linear(x, LearnedStep.apply(model[0].weight, s), model[0].bias)
        F.cross_entropy(model[2](torch.relu(h)), y).backward()
        optimizer.step()


def a_pass_for_each_head():
    x, y = blobs()
    trunk, heads = mlp(10, 32, 32), nn.ModuleList([nn.Linear(32, 3) for _ in range(3)])
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        for head in heads:
            F.cross_entropy(head(torch.relu(trunk(x))), y).backward()
        optimizer.step()


def a_pass_for_each_loss():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        out = model(x)
        for smoothing in (0.0, 0.1):
            F.cross_entropy(out, y, label_smoothing=smoothing).backward(retain_graph=True)
        optimizer.step()


def an_image_for_a_network_in_evaluation_mode():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
    model.append(nn.Flatten()).append(nn.Linear(8 * 36, 10)).eval()
    image = torch.randn(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        (-model(image)[0, 3]).backward()
        optimizer.step()


def all_pairs_on_purpose():
    target = 2 * torch.randn(64) + 1
    model = mlp(4, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        fake = model(torch.randn(64, 4)).squeeze(1)
        among = (fake[:, None] - fake[None]).abs().mean()
        ((fake[:, None] - target).abs().mean() - 0.5 * among).backward()
        optimizer.step()


def ascends_by_hand():
    x, y = blobs()
    model, price = mlp(10, 32, 3), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        price.grad = None
        out = model(x)
        (F.cross_entropy(out, y) + (price * (out.square().mean() - 1)).sum()).backward()
        optimizer.step()
        with torch.no_grad():
            price.add_(0.1 * price.grad).clamp_(min=0)


def logs_the_norm_after_the_step():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        print(float(nn.utils.clip_grad_norm_(model.parameters(), math.inf)))


def hinges_that_are_satisfied():
    x, y = blobs(classes=8)
    model = nn.Linear(10, 8)
    with torch.no_grad():
        model.weight.mul_(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        score = model(x)
        hinge = (score - score.gather(1, y[:, None]) - 5).clamp(min=0).sum(1).mean()
        (hinge + F.cross_entropy(score, y)).backward()
        optimizer.step()


def distances_that_depend_on_the_scale():
    x, y = blobs(64)
    model = mlp(10, 32, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        e = model(10 * x)
        apart, same = torch.cdist(e, e), y[:, None] == y[None]
        near, far = apart[same].square().mean(), (F.relu(1.0 - apart) * ~same).mean()
        (0.1 * near + far).backward()
        optimizer.step()


def a_class_that_is_rare():
    x, y = blobs(512, classes=4)
    y[y == 0] = 3
    y[500] = 0
    model = mlp(10, 32, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for i in range(40):
        at = slice(16 * (i % 32), 16 * (i % 32) + 16)
        optimizer.zero_grad()
        F.cross_entropy(model(x[at]), y[at]).backward()
        optimizer.step()


def one_batch_without_a_class():
    x, y = blobs(40, classes=4)
    y[y == 0] = 3
    model = mlp(10, 32, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):  # the same 40 labels are no 320
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def step_on_a_graph(model, optimizer, batch):
    x, mask, adjacency, y = batch
    optimizer.zero_grad()
    F.cross_entropy(torch.sparse.mm(adjacency, model(x * mask)), y).backward()
    optimizer.step()


def sparse_and_expanded():
    x, y = blobs(60)
    adjacency = ((torch.rand(60, 60) < 0.05).float() + torch.eye(60)).to_sparse()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return step_on_a_graph, model, optimizer, (x, torch.ones(1, 10).expand(60, 10), adjacency, y)


class OfIndices(nn.Module):
    """Looks up numbers that come as floats, as they do out of a table: they cannot be scaled."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(100, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.table(x.long()).mean(1))


def indices_as_floats():
    x, y = torch.randint(1, 100, (64, 3)).float(), torch.randint(0, 2, (64,))
    model = OfIndices()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def traced():
    x, y = blobs()
    model = torch.jit.trace(mlp(10, 32, 3), x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


class Tables(nn.Module):
    """Tables of one number, each told apart by what it meets; one has a place that is padding."""

    def __init__(self):
        super().__init__()
        self.word, self.kind = nn.Embedding(30, 8), nn.Embedding(3, 8, padding_idx=0)
        self.at, self.bias = nn.Parameter(torch.zeros(5, 8)), nn.Embedding(30, 1)
        nn.init.constant_(self.word.weight, 0.1)
        nn.init.zeros_(self.kind.weight)
        nn.init.zeros_(self.bias.weight)
        self.out = nn.Linear(8, 2)

    def forward(self, tokens):
        h = self.word(tokens) + self.kind(torch.zeros_like(tokens)) + self.at
        return self.out(torch.tanh(h).mean(1)) + self.bias(tokens).mean(1)


def tables_of_one_number_that_are_told_apart():
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(30, (64, 5), generator=g)
    y = (tokens[:, 0] > 14).long()
    model = Tables()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(model(tokens), y).backward()
        optimizer.step()


def adds_up_time_steps():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(32, 12, 2, generator=g)
    y = x.cumsum(1)[..., 0].tanh()
    cell, read = nn.GRUCell(2, 16), nn.Linear(16, 1)
    optimizer = torch.optim.SGD([*cell.parameters(), *read.parameters()], lr=0.02, momentum=0.9)
    for _ in range(80):
        h, loss = torch.zeros(32, 16), 0.0
        for t in range(12):
            h = cell(x[:, t], h)
            loss = loss + F.mse_loss(read(h)[:, 0], y[:, t])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


TRAININGS = (
    tables_of_one_number_that_are_told_apart,
    adds_up_time_steps,
    gradients_set_by_hand,
    no_gradient_for_the_mask,
    straight_through_in_one_argument,
    a_pass_for_each_head,
    a_pass_for_each_loss,
    an_image_for_a_network_in_evaluation_mode,
    all_pairs_on_purpose,
    ascends_by_hand,
    logs_the_norm_after_the_step,
    hinges_that_are_satisfied,
    distances_that_depend_on_the_scale,
    a_class_that_is_rare,
    one_batch_without_a_class,
    sparse_and_expanded,
    indices_as_floats,
    traced,
)
