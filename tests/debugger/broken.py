"""Broken trainings in other styles than the catalogue, each with the expected finding."""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.debugger.correct import Lit, blobs, curve, mlp


def train(model, loss_of, lr=0.1, steps=30, make=torch.optim.SGD, parameters=None):
    """Train correctly: the mistake is in the model, the loss or the rate."""
    optimizer = make(model.parameters() if parameters is None else parameters, lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()


def never_cleared():
    loader = DataLoader(TensorDataset(*blobs()), batch_size=32, shuffle=True)
    module = Lit()
    [optimizer], _ = module.configure_optimizers()
    for _ in range(3):
        for i, batch in enumerate(loader):
            loss = module.training_step(batch, i)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()


def cleared_once_an_epoch():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        model.zero_grad()
        for at in range(0, 96, 32):
            F.cross_entropy(model(x[at : at + 32]), y[at : at + 32]).backward()
            optimizer.step()


def closure_without_clearing():
    x, y = curve()
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def closure():
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(30):
        optimizer.step(closure)


class Binary(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(10, 16, 1)

    def forward(self, x):
        return torch.sigmoid(self.net(x)).squeeze(-1)


def sigmoid_inside():
    x, y = blobs(classes=2)
    y[:40] = 1 - y[:40]
    criterion, model = nn.BCELoss(), Binary()
    sure(model.net[2], x, model.net)
    train(model, lambda m: criterion(m(x), y.float()), lr=1e-3)


def sure(last, x, net):
    """Make the logits of a network large, as after long training."""
    with torch.no_grad():
        scale = 40 / net(x).std()
        last.weight.mul_(scale)
        last.bias.mul_(scale)


def sigmoid_twice():
    x, y = blobs(classes=2)
    train(Binary(), lambda m: F.binary_cross_entropy_with_logits(m(x), y.float()))


class Soft(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(10, 16, 3)

    def forward(self, x):
        e = self.net(x).exp()
        return e / e.sum(dim=1, keepdim=True)


def own_softmax():
    x, y = blobs()
    criterion = nn.CrossEntropyLoss()
    train(Soft(), lambda m: criterion(m(x), y), make=torch.optim.Adam, lr=1e-2)


def softmax_in_the_loop():
    x, y = blobs()
    train(mlp(10, 32, 3), lambda m: F.cross_entropy(F.softmax(m(x), dim=-1), y))


def ranking():
    x, _ = blobs()

    def loss(m):
        good, bad = m(x[:128]), m(x[128:])
        return -torch.log(torch.sigmoid(100 * (good - bad))).mean()

    model = mlp(10, 16, 1)
    sure(model[2], x, model)
    train(model, loss)


def odds_by_hand():
    x, y = blobs(classes=2)
    model = mlp(10, 16, 1)
    sure(model[2], x, model)

    def loss(m):
        e = torch.exp(m(x).squeeze(1).clamp(max=80))
        p = e / (e + 1)
        return -torch.where(y == 1, torch.log(p), torch.log(1 - p)).mean()

    train(model, loss, lr=1e-3)


def half_precision():
    x, y = blobs(classes=2)

    def loss(m):
        p = m(x).half().sigmoid().squeeze(1)
        return -torch.where(y == 1, p.log(), (1 - p).log()).mean()

    model = mlp(10, 16, 1)
    sure(model[2], x, model)
    train(model, loss)


def log_of_targets():
    x, y = curve()
    size = y.clamp(min=0)
    train(mlp(1, 16, 1), lambda m: (torch.log(size) - F.softplus(m(x))).square().mean())


def entropy_of_hard_choices():
    x, y = blobs()

    def loss(m):
        p = F.softmax(200 * m(x), dim=1)
        return F.nll_loss(torch.log(p), y)

    train(mlp(10, 16, 3), loss, lr=0.01)


def mse_against_flat_targets():
    x, y = curve()
    criterion = nn.MSELoss()
    train(mlp(1, 16, 1), lambda m: criterion(m(x), y.squeeze(1)))


def absolute_error_against_flat_targets():
    x, y = curve()
    train(mlp(1, 16, 1), lambda m: torch.abs(y[:, 0] - m(x)).mean())


def summed():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(model, optimizer, batch):
        inputs, labels = batch
        optimizer.zero_grad()
        each = F.cross_entropy(model(inputs), labels, reduction="none")
        each.sum().backward()
        optimizer.step()

    return step, model, optimizer, (x, y)


def summed_in_a_script():
    x, y = curve()
    train(mlp(1, 16, 1), lambda m: ((m(x) - y) ** 2).sum(), lr=0.01)


class TwoParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = mlp(10, 16, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.decoder(torch.relu(self.encoder(x)))


def encoder_left_out():
    x, y = blobs()
    model = TwoParts()
    train(model, lambda m: F.cross_entropy(m(x), y), parameters=model.decoder.parameters())


def bare_weight_left_out():
    x, y = blobs()
    W = nn.Parameter(torch.randn(10, 16) / 3)
    head = nn.Linear(16, 3)
    train(head, lambda m: F.cross_entropy(m(torch.tanh(x @ W)), y))


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.experts = {"a": nn.Linear(10, 16), "b": nn.Linear(10, 16)}
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(torch.relu(sum(e(x) for e in self.experts.values())))


def dict_of_experts():
    x, y = blobs()
    train(Experts(), lambda m: F.cross_entropy(m(x), y))


class Cut(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.encoder, self.head, self.how = nn.Linear(10, 16), nn.Linear(16, 3), how

    def forward(self, x):
        return self.head(self.how(torch.relu(self.encoder(x))))


def through_data():
    x, y = blobs()
    train(Cut(lambda h: h.data), lambda m: F.cross_entropy(m(x), y))


def through_numpy():
    x, y = blobs()

    def whiten(h):
        a = h.detach().numpy()
        return torch.from_numpy((a - a.mean(0)) / (a.std(0) + 1e-5))

    train(Cut(whiten), lambda m: F.cross_entropy(m(x), y))


def made_anew():
    x, y = blobs()
    train(Cut(lambda h: torch.tensor(h)), lambda m: F.cross_entropy(m(x), y))


def no_grad_left_on():
    x, y = blobs()
    model = TwoParts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        with torch.no_grad():
            h = model.encoder(x)
        optimizer.zero_grad()
        F.cross_entropy(model.decoder(torch.relu(h)), y).backward()
        optimizer.step()


def sum_of_items():
    x, y = blobs()
    model, value = TwoParts(), nn.Linear(16, 1)
    both = [*model.parameters(), *value.parameters()]

    def loss(m):
        h = torch.relu(m.encoder(x))
        extra = F.mse_loss(value(h), x[:, :1])
        return F.cross_entropy(m.decoder(h), y) + extra.item()

    train(model, loss, parameters=both)


def losses_gathered_anew():
    x, y = blobs()
    model = mlp(10, 32, 3)
    train(
        model,
        lambda m: torch.tensor(
            [
                F.cross_entropy(m(part), its)
                for part, its in zip(x.chunk(4), y.chunk(4), strict=True)
            ],
            requires_grad=True,
        ).mean(),
    )


def loss_of_an_item():
    x, y = blobs()
    model = mlp(10, 16, 3)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.tensor(float(F.cross_entropy(model(x), y)))
        loss.backward()
        optimizer.step()


def detached_loss():
    x, y = blobs()
    train(mlp(10, 16, 3), lambda m: F.cross_entropy(m(x).detach(), y))


class Overwrites(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(10, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = torch.sigmoid(self.a(x))
        h[:, 0] = 0.0
        return self.b(h)


class Buffered(nn.Module):
    """A recurrent network that writes its states into one tensor."""

    def __init__(self):
        super().__init__()
        self.cell, self.read = nn.GRUCell(10, 8), nn.Linear(8, 3)

    def forward(self, x):
        states = torch.zeros(len(x), 5, 8)
        for t in range(4):
            states[:, t + 1] = self.cell(x, states[:, t])
        return self.read(states[:, 4])


def writes_its_states():
    x, y = blobs()
    train(Buffered(), lambda m: F.cross_entropy(m(x), y))


def assigns_a_column():
    x, y = blobs()
    train(Overwrites(), lambda m: F.cross_entropy(m(x), y))


def array_of_the_graph():
    x, y = curve()
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def loss(m):
        h = m[:2](x)
        out = m[2](h)
        seen = h.data[:8].numpy()
        np.abs(seen, out=seen)
        return F.mse_loss(out, y)

    train(model, loss)


def all_constant():
    x, y = blobs()
    model = mlp(10, 16, 16, 3)
    for p in model.parameters():
        nn.init.constant_(p, 0.05)
    train(model, lambda m: F.cross_entropy(m(x), y))


def weights_of_ones_only():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 3))
    for layer in (model[0], model[2]):
        layer.weight.data.fill_(0.02)
    train(model, lambda m: F.cross_entropy(m(x), y))


def all_zero():
    x, y = blobs()
    model = mlp(10, 16, 3)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    train(model, lambda m: F.cross_entropy(m(x), y))


def wide_uniform_tanh():
    x, y = blobs()
    layers = [part for _ in range(8) for part in (nn.Linear(48, 48), nn.Tanh())]
    model = nn.Sequential(nn.Linear(10, 48), nn.Tanh(), *layers, nn.Linear(48, 3))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -1.5, 1.5)
    train(model, lambda m: F.cross_entropy(m(x), y), lr=0.05)


def normal_relu():
    x, y = curve()
    model = mlp(1, 50, 50, 50, 50, 1)
    for p in model.parameters():
        nn.init.normal_(p, std=1.0)
    train(model, lambda m: F.mse_loss(m(x), y), lr=1e-3, make=torch.optim.Adam)


def evaluated_once():
    loader = DataLoader(TensorDataset(*blobs()), batch_size=64)
    model = nn.Sequential(nn.Linear(10, 32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 3))
    model.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def clips_late():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)


def clamps_early():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=False)
        for p in model.parameters():
            if p.grad is not None:
                p.grad.data.clamp_(-0.01, 0.01)
        loss.backward()
        optimizer.step()


def clips_scaled_by_hand():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        (1024 * F.cross_entropy(model(x), y)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for p in model.parameters():
            p.grad /= 1024
        optimizer.step()


def accumulates_sums():
    x, y = blobs()
    model = mlp(10, 32, 3)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05)
    optimizer.zero_grad()
    for i in range(160):
        at = 16 * (i % 16)
        criterion(model(x[at : at + 16]), y[at : at + 16]).backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def schedule_first():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(6):
        scheduler.step()
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def stores_a_total():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = 0.0
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)  # its graph is stored
        loss.backward()
        optimizer.step()
        total += loss


class Keeper:
    def __init__(self):
        self.outputs = []

    def step(self, model, optimizer, batch):
        x, y = batch
        out = model(x)
        self.outputs.append(out)
        loss = F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss


def stores_outputs():
    model = mlp(10, 32, 3)
    return Keeper().step, model, torch.optim.SGD(model.parameters(), lr=0.1), blobs()


def adam_far_too_fast():
    x, y = blobs()
    train(mlp(10, 32, 32, 3), lambda m: F.cross_entropy(m(x), y), lr=1.0, make=torch.optim.Adam)


def descent_too_fast():
    x, y = curve()
    train(mlp(1, 32, 1), lambda m: F.mse_loss(m(x), y), lr=2.0)


def bytes_as_they_are():
    pixels = torch.randint(0, 256, (128, 1, 8, 8)).float()
    y = (pixels.mean((1, 2, 3)) > 127).long()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    train(model, lambda m: F.cross_entropy(m(pixels), y), lr=0.1)


def houses():
    g = torch.Generator().manual_seed(0)
    area, rooms = 50 + 150 * torch.rand(128, generator=g), 1 + 4 * torch.rand(128, generator=g)
    x = torch.stack([area, rooms], 1)
    y = ((area - 125) / 45 + (rooms - 3)).unsqueeze(1)
    train(mlp(2, 16, 1), lambda m: F.mse_loss(m(x), y), lr=0.05)


def counted_from_one():
    x, y = blobs()
    train(mlp(10, 32, 3), lambda m: F.cross_entropy(m(x), y + 1))


def one_class_more():
    x, y = blobs()
    train(mlp(10, 32, 4), lambda m: F.cross_entropy(m(x), y + 1))


def one_below():
    x, y = blobs()
    train(mlp(10, 32, 3), lambda m: F.nll_loss(F.log_softmax(m(x), -1), y - 1))


def ones_and_twos():
    x, y = blobs(classes=2)
    train(mlp(10, 16, 1), lambda m: F.binary_cross_entropy_with_logits(m(x)[:, 0], y + 1.0))


class Factored(nn.Module):
    """A layer whose matrix is A B."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(n_in, 4))
        self.b = nn.Parameter(torch.zeros(4, n_out))

    def forward(self, x):
        return torch.matmul(torch.matmul(x, self.a), self.b)


class FactoredTransposed(Factored):
    """The same layer, with the matrices transposed as in nn.Linear."""

    def __init__(self, n_in, n_out):
        super().__init__(n_out, n_in)

    def forward(self, x):
        return x @ self.b.transpose(0, 1) @ self.a.transpose(0, 1)


def product_of_zeros():
    x, y = blobs()
    model = nn.Sequential(FactoredTransposed(10, 16), nn.Tanh(), nn.Linear(16, 3))
    train(model, lambda m: F.cross_entropy(m(x), y))


def wide_without_modules():
    x, y = blobs()
    g = torch.Generator().manual_seed(0)
    sizes = ((10, 64), (64, 64), (64, 64), (64, 64), (64, 3))
    weights = [torch.randn(n, m, generator=g).requires_grad_() for n, m in sizes]
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(40):
        h = x
        for w in weights[:-1]:
            h = torch.sigmoid(4 * (h @ w)) * 2 - 1
        optimizer.zero_grad()
        F.cross_entropy(h @ weights[-1], y).backward()
        optimizer.step()


def salaries():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 12), nn.Sigmoid())
    model = nn.Sequential(model, nn.Linear(12, 3))

    def step(model, optimizer, batch):
        inputs, labels = batch
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    batch = 300 + 40 * x + torch.arange(10) * 50, y
    return step, model, torch.optim.Adam(model.parameters(), lr=5e-3), batch


class Sunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(10, 32), nn.Linear(32, 3)
        self.a.bias.data.fill_(-30)

    def forward(self, x):
        return self.b(self.a(x).clamp(min=0))


def sunk_biases():
    x, y = blobs()
    train(Sunk(), lambda m: F.cross_entropy(m(x), y))


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, W):
        ctx.save_for_backward(x, W)
        return torch.tanh(x @ W)

    @staticmethod
    def backward(ctx, grad):
        x, W = ctx.saved_tensors
        dz = grad * (1 - torch.tanh(x @ W) ** 2)
        return dz @ W, x.T @ dz


def own_layer():
    x, y = blobs()
    W, head = nn.Parameter(torch.randn(10, 10) / math.sqrt(10)), nn.Linear(10, 3)
    parts = [W, *head.parameters()]
    train(
        head, lambda m: F.cross_entropy(m(Scaled.apply(x.requires_grad_(), W)), y), parameters=parts
    )


def cleared_too_late():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        F.cross_entropy(model(x), y).backward()
        model.zero_grad()
        optimizer.step()


def new_head_unknown():
    x, y = blobs()
    model = TwoParts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.decoder = nn.Linear(16, 3)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def backward_of_a_number():
    x, y = blobs()
    train(mlp(10, 16, 3), lambda m: F.cross_entropy(m(x), y).item())


def state_carried_over():
    rnn, out = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)
    series, state = torch.sin(torch.linspace(0, 60, 600)).view(1, 600, 1), None
    optimizer = torch.optim.Adam([*rnn.parameters(), *out.parameters()], lr=1e-2)
    for at in range(0, 580, 20):
        h, state = rnn(series[:, at : at + 20], state)
        optimizer.zero_grad()
        F.mse_loss(out(h), series[:, at + 1 : at + 21]).backward()
        optimizer.step()


def weights_changed_between():
    x, y = blobs()
    model = mlp(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        logits = model(x)
        optimizer.zero_grad()
        F.cross_entropy(logits, y).backward(retain_graph=True)
        optimizer.step()
        logits.pow(2).mean().backward()
        optimizer.step()


def focal():
    x, y = blobs(classes=2)

    def loss(m):
        p = torch.sigmoid(m(x)).squeeze(1)
        right = p * y + (1 - p) * (1 - y)
        return (-((1 - right) ** 2) * torch.log(right)).mean()

    model = mlp(10, 16, 1)
    sure(model[2], x, model)
    train(model, loss)


def incomes():
    g = torch.Generator().manual_seed(0)
    age, income = 18 + 60 * torch.rand(128, generator=g), 8e4 * torch.rand(128, generator=g)
    x, y = torch.stack([age, income], 1), ((age - 48) / 17 + income / 4e4 - 1).unsqueeze(1)
    model = mlp(2, 32, 1)

    def step(model, optimizer, batch):
        inputs, targets = batch
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        optimizer.step()

    return step, model, torch.optim.Adam(model.parameters(), lr=1e-2), (x, y)


class OwnAffine(torch.autograd.Function):
    """A linear layer with a bias that starts at 0, and a wrong backward pass."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.t() + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight.t(), grad.t() @ x, grad.sum(0)


def transposed_with_a_bias_of_zero():
    first, last = nn.Linear(10, 16), nn.Linear(16, 3)
    weight, bias = nn.Parameter(torch.randn(16, 16) / 4), nn.Parameter(torch.zeros(16))
    parameters = [*first.parameters(), *last.parameters(), weight, bias]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    x, y = blobs()
    for _ in range(30):
        optimizer.zero_grad()
        h = OwnAffine.apply(torch.tanh(first(x)), weight, bias)
        F.cross_entropy(last(torch.tanh(h)), y).backward()
        optimizer.step()


def step_by_grad(model, optimizer, batch, *, stored=None):
    """Make one update with `autograd.grad`: of a sum, or of a mean whose loss is stored."""
    x, y = batch
    losses = model(x).logsumexp(1) - model(x)[range(len(y)), y]
    loss = losses.sum() if stored is None else losses.mean()
    grads = torch.autograd.grad(loss, [*model.parameters()])
    for p, grad in zip(model.parameters(), grads, strict=True):
        p.grad = grad
    optimizer.step()
    if stored is not None:
        stored.append(loss)


def summed_without_backward():
    model = nn.Linear(10, 3)
    return step_by_grad, model, torch.optim.SGD(model.parameters(), lr=0.1), blobs()


def stored_without_backward():
    model, stored = mlp(10, 16, 3), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return partial(step_by_grad, stored=stored), model, optimizer, blobs()


class Rated(nn.Module):
    """Two constant tables, of users and films; `match` combines their rows."""

    def __init__(self, match):
        super().__init__()
        self.users, self.films = (nn.Parameter(torch.full((n, 4), 0.3)) for n in (20, 15))
        self.mean, self.match = nn.Parameter(torch.tensor(3.0)), match

    def forward(self, u, i):
        return self.mean + self.match(self.users, self.films, u, i)


def rates(match):
    """Learn ratings with Adam."""
    g = torch.Generator().manual_seed(0)
    u, i = torch.randint(20, (400,), generator=g), torch.randint(15, (400,), generator=g)
    stars = 3 + torch.randn(20, generator=g)[u] * torch.randn(15, generator=g)[i]
    model = Rated(match)
    train(model, lambda m: F.mse_loss(m(u, i), stars), lr=0.03, make=torch.optim.Adam)


def tables_of_one_number():
    rates(lambda users, films, u, i: (F.embedding(u, users) * F.embedding(i, films)).sum(1))


def tables_of_one_number_multiplied():
    rates(lambda users, films, u, i: (users @ films.T)[u, i])


def summed_in_a_loop():
    x, y = blobs()

    def loss(model):
        return sum(F.cross_entropy(model(x[[k]]), y[[k]]) for k in range(24))

    train(mlp(10, 32, 3), loss, lr=0.3)


def summed_by_hand_in_a_loop():
    x, y = curve()

    def loss(model):
        return sum((model(part) - its).square().mean() for part, its in pairs)

    pairs = [*zip(x.chunk(16), y.chunk(16), strict=True)]
    train(mlp(1, 32, 1), loss, lr=0.1)


def losses_as_a_tensor():
    x, y = blobs()
    model = mlp(10, 32, 3)

    def loss(model):
        parts = zip(x.chunk(4), y.chunk(4), strict=True)
        return torch.as_tensor([F.cross_entropy(model(part), its) for part, its in parts])

    train(model, lambda m: loss(m).requires_grad_().mean())


CASES = (
    ("constant_init", tables_of_one_number), ("constant_init", tables_of_one_number_multiplied),
    ("summed_loss", summed_in_a_loop), ("summed_loss", summed_by_hand_in_a_loop),
    ("item_in_path", losses_as_a_tensor), ("in_place_change", writes_its_states),
    ("item_in_path", backward_of_a_number), ("graph_used_twice", state_carried_over),
    ("in_place_change", weights_changed_between), ("unclipped_sigmoid", focal),
    ("unscaled_inputs", incomes), ("unclipped_sigmoid", odds_by_hand),
    ("in_place_change", array_of_the_graph), ("shifted_labels", ones_and_twos),
    ("zero_init", product_of_zeros), ("large_weights", wide_without_modules),
    ("unscaled_inputs", salaries),
    ("no_zero_grad", never_cleared), ("no_zero_grad", cleared_once_an_epoch),
    ("no_zero_grad", closure_without_clearing), ("sigmoid_before_bce", sigmoid_inside),
    ("sigmoid_twice", sigmoid_twice), ("softmax_before_cross_entropy", own_softmax),
    ("softmax_before_cross_entropy", softmax_in_the_loop), ("unclipped_sigmoid", ranking),
    ("unclipped_sigmoid", half_precision), ("log_of_zero", log_of_targets),
    ("log_of_zero", entropy_of_hard_choices), ("broadcast_target", mse_against_flat_targets),
    ("broadcast_target", absolute_error_against_flat_targets), ("summed_loss", summed),
    ("summed_loss", summed_in_a_script), ("missing_parameters", encoder_left_out),
    ("missing_parameters", bare_weight_left_out), ("plain_list", dict_of_experts),
    ("data_in_path", through_data), ("detach_in_path", through_numpy), ("item_in_path", made_anew),
    ("item_in_path", losses_gathered_anew),
    ("no_grad_in_path", no_grad_left_on), ("item_in_path", sum_of_items),
    ("item_in_path", loss_of_an_item), ("detach_in_path", detached_loss),
    ("in_place_change", assigns_a_column),
    ("constant_init", all_constant), ("constant_init", weights_of_ones_only),
    ("zero_init", all_zero), ("large_weights", wide_uniform_tanh), ("large_weights", normal_relu),
    ("eval_left_on", evaluated_once), ("clip_after_step", clips_late),
    ("clip_before_backward", clamps_early), ("clip_before_unscale", clips_scaled_by_hand),
    ("undivided_accumulation", accumulates_sums), ("schedule_before_step", schedule_first),
    ("kept_graph", stored_without_backward), ("summed_loss", summed_without_backward),
    ("kept_graph", stores_a_total), ("kept_graph", stores_outputs),
    ("learning_rate", adam_far_too_fast), ("learning_rate", descent_too_fast),
    ("unscaled_inputs", bytes_as_they_are), ("unscaled_inputs", houses),
    ("shifted_labels", counted_from_one), ("shifted_labels", one_class_more),
    ("shifted_labels", one_below), ("dying_relu", sunk_biases), ("wrong_backward", own_layer),
    ("wrong_backward", transposed_with_a_bias_of_zero),
    ("zero_grad_too_late", cleared_too_late), ("layer_replaced", new_head_unknown),
)  # fmt: skip
