"""Correct trainings that resemble mistakes; benchmarks/doctor/programs has longer ones."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def blobs(n=256, features=10, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, features, generator=g)
    y = torch.randint(0, classes, (n,), generator=g)
    return centres[y] + torch.randn(n, features, generator=g), y


def curve(n=128):
    x = torch.linspace(-2, 2, n).unsqueeze(1)
    return x, torch.sin(2 * x)


def mlp(*widths):
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def quickstart():
    loader = DataLoader(TensorDataset(*blobs()), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)
    history = []
    for _ in range(4):
        model.train()
        running = 0.0
        for x, y in loader:
            pred = model(x)
            loss = loss_fn(pred, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            running += loss.item() * len(x)
            print(loss.item(), (pred.argmax(1) == y).float().mean().item())
        history.append(running)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            for x, y in loader:
                loss_fn(model(x), y).item()


def evaluates_between_steps():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    best = math.inf
    for _ in range(30):
        model.train()
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        model.eval()
        best = min(best, float(F.cross_entropy(model(x), y)))


def actor_critic():
    body, actor, critic = nn.Linear(4, 32), nn.Linear(32, 2), nn.Linear(32, 1)
    optimizer = torch.optim.Adam(
        [*body.parameters(), *actor.parameters(), *critic.parameters()], lr=3e-3
    )
    for _ in range(30):
        state = torch.randn(16, 4)
        h = torch.relu(body(state))
        choice = torch.distributions.Categorical(logits=actor(h))
        action = choice.sample()
        reward = state.gather(1, action.unsqueeze(1)).squeeze(1)
        value = critic(h).squeeze(-1)
        gain = reward - value
        policy = -(choice.log_prob(action) * gain.detach()).mean()
        loss = policy + 0.5 * F.mse_loss(value, reward) - 0.01 * choice.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def head_only():
    x, y = blobs()
    model = mlp(10, 32, 3)
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


class Lit(nn.Module):
    """A module in the style of Lightning."""

    def __init__(self):
        super().__init__()
        self.net = mlp(10, 32, 3)
        self.logged = {}

    def log(self, name, value):
        self.logged.setdefault(name, []).append(value.detach().cpu())

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self.net(x)
        loss = F.cross_entropy(logits, y)
        self.log("loss", loss)
        self.log("accuracy", (logits.softmax(-1).argmax(-1) == y).float().mean())
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)]


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sign(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.scale * grad, None


class Softsign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x / (1 + x.abs())

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + x.abs()) ** 2


def own_functions():
    x, y = blobs()
    body, head, domain = nn.Linear(10, 32), nn.Linear(32, 3), nn.Linear(32, 2)
    parts = nn.ModuleList([body, head, domain])
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-2)
    where = (torch.arange(len(x)) % 2).long()
    for _ in range(30):
        h = Softsign.apply(body(x))
        loss = F.cross_entropy(head(h + 0.1 * Round.apply(h)), y)
        loss = loss + 0.1 * F.cross_entropy(domain(Reverse.apply(h, 0.5)), where)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def polynomial():
    x = torch.linspace(-math.pi, math.pi, 2000)
    y = torch.sin(x)
    xx = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    criterion = nn.MSELoss(reduction="sum")
    for _ in range(60):
        loss = criterion(model(xx), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def physics():
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    t = torch.linspace(0, 1, 50).unsqueeze(1).requires_grad_(True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        u = net(t)
        (du,) = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)
        loss = ((du + u) ** 2).mean() + (net(torch.zeros(1, 1)) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def convolutional():
    images = torch.rand(64, 1, 12, 12)
    masks = (images[:, 0] > 0.5).long()
    masks[:, 0] = 255
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1)
    )
    loss_fn = nn.NLLLoss(ignore_index=255)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for i in range(30):
        at = 16 * (i % 4)
        x = images[at : at + 16]
        x = x.sub(x.mean()).div_(x.std())
        loss = loss_fn(F.log_softmax(net(x), dim=1), masks[at : at + 16])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimisation: two backward passes for each update."""

    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base = base(self.param_groups, **kwargs)

    @torch.no_grad()
    def first_step(self):
        grads = [p.grad.norm() for g in self.param_groups for p in g["params"]]
        norm = torch.stack(grads).norm()
        for group in self.param_groups:
            for p in group["params"]:
                e = p.grad * group["rho"] / (norm + 1e-12)
                p.add_(e)
                self.state[p]["e"] = e
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["e"])
        self.base.step()
        self.zero_grad()


def sharpness_aware():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = Sam(model.parameters(), torch.optim.SGD, lr=0.1)
    for _ in range(30):
        F.cross_entropy(model(x), y).backward()
        optimizer.first_step()
        F.cross_entropy(model(x), y).backward()
        optimizer.second_step()


def functional():
    """Tensors without modules, with hand-written layers."""
    x, y = blobs()
    g = torch.Generator().manual_seed(0)
    W1 = (torch.randn(10, 32, generator=g) / 10**0.5).requires_grad_()
    W2 = (torch.randn(32, 3, generator=g) / 32**0.5).requires_grad_()
    b1, b2 = torch.zeros(32, requires_grad=True), torch.zeros(3, requires_grad=True)
    weights = [W1, b1, W2, b2]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    for _ in range(30):
        logits = torch.tanh(x @ W1 + b1) @ W2 + b2
        log_p = logits - logits.logsumexp(1, keepdim=True)
        loss = -log_p[torch.arange(len(y)), y].mean()
        for w in weights:
            w.grad = None
        loss.backward()
        optimizer.step()


def contrastive():
    x, _ = blobs()
    encoder = mlp(10, 32, 16)
    temperature = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.Adam([*encoder.parameters(), temperature], lr=1e-3)
    for _ in range(30):
        a = F.normalize(encoder(x[:64] + 0.1 * torch.randn(64, 10)), dim=1)
        b = F.normalize(encoder(x[:64] + 0.1 * torch.randn(64, 10)), dim=1)
        logits = temperature.exp() * a @ b.T
        target = torch.arange(64)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def online_hard_mining():
    x, y = blobs()
    model = mlp(10, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        each = F.cross_entropy(model(x), y, reduction="none")
        hard = each.detach().topk(64).indices
        loss = each[hard].mean() + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def gaussian_likelihood():
    x, y = curve()
    net = mlp(1, 32, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(30):
        mean, s = net(x).chunk(2, dim=1)
        var = F.softplus(s) + 1e-4
        loss = (0.5 * torch.log(var) + (y - mean) ** 2 / (2 * var)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Momentum(nn.Module):
    """Two encoders: the second is a moving average of the first, but is also in the optimiser."""

    def __init__(self):
        super().__init__()
        self.encoder_q, self.encoder_k = mlp(10, 32, 16), mlp(10, 32, 16)
        for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
            k.data.copy_(q.data)
            k.requires_grad = False

    def forward(self, a, b):
        q = F.normalize(self.encoder_q(a), dim=1)
        with torch.no_grad():
            for p, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
                k.data = k.data * 0.9 + p.data * 0.1
        k = F.normalize(self.encoder_k(b), dim=1)
        return q @ k.T / 0.2


def follows_by_momentum():
    x, _ = blobs()
    model = Momentum()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    for _ in range(30):
        logits = model(x[:64] + 0.1 * torch.randn(64, 10), x[:64])
        loss = nn.CrossEntropyLoss()(logits, torch.arange(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Codebook(nn.Module):
    """Code vectors that are updated without the optimiser, towards the mean of their inputs."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(10, 4), nn.Linear(4, 10)
        self.book = nn.Embedding(8, 4)

    def forward(self, x):
        z = self.encoder(x)
        at = torch.cdist(z, self.book.weight).argmin(1)
        q = self.book(at)
        if self.training:
            with torch.no_grad():
                hot = F.one_hot(at, 8).float()
                mean = hot.T @ z / hot.sum(0).clamp(min=1).unsqueeze(1)
                used = hot.sum(0) > 0
                self.book.weight.data[used] += 0.1 * (mean - self.book.weight.data)[used]
        commitment = F.mse_loss(q.detach(), z)
        return self.decoder(z + (q - z).detach()), commitment


def quantised():
    x, _ = blobs()
    model = Codebook()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        out, commitment = model(x)
        loss = F.mse_loss(out, x) + 0.25 * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def dreams():
    """Optimises an image; the network is not frozen, and not updated."""
    net = mlp(10, 32, 3)
    image = torch.randn(4, 10, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(image), torch.zeros(4, dtype=torch.long))
        loss.backward()
        optimizer.step()


def two_optimisers_in_a_step():
    x, y = blobs()
    body, head = mlp(10, 32, 16), nn.Linear(16, 3)
    slow = torch.optim.SGD(head.parameters(), lr=0.1)
    fast = torch.optim.Adam(body.parameters(), lr=1e-3)
    count = [0]

    def step(model, optimizer, batch):
        inputs, labels = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(head(torch.relu(model(inputs))), labels)
        loss.backward()
        optimizer.step()
        count[0] += 1
        if count[0] % 10 == 0:
            slow.step()
            slow.zero_grad()

    return step, body, fast, [(x[:64], y[:64]), (x[64:128], y[64:128])]


class Task:
    """A step that is a method, with a schedule, a scaler, a counter and a history."""

    def __init__(self):
        self.model = nn.Sequential(
            nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.2, total_steps=500)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
        self.steps, self.history = 0, []

    def step(self, model, optimizer, batch):
        x, y = batch
        model.train()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()
        self.schedule.step()
        self.steps += 1
        self.history.append(loss.item())
        return loss


def method():
    task = Task()
    return task.step, task.model, task.optimizer, DataLoader(TensorDataset(*blobs()), batch_size=32)


class Letters(nn.Module):
    """Token 0 is reserved for padding and does not occur."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(6, 16), nn.GRU(16, 16), nn.Linear(16, 6)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


def letters():
    text = torch.randint(1, 6, (21, 32))
    model = Letters()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(text[:-1]).flatten(0, 1), text[1:].flatten()).backward()
        optimizer.step()


def head_of_zeros_for_targets_that_agree():
    x, y = curve()
    targets = torch.cat([y + 3, y + 3.1, y + 3.2], 1)
    model = nn.Sequential(nn.Linear(1, 32), nn.Sigmoid(), nn.Linear(32, 3))
    nn.init.zeros_(model[2].weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(model(x), targets).backward()
        optimizer.step()


def arrays():
    x, y = curve()
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(40):
        z = model[0](x)
        h = model[1](z)
        z.detach().numpy()[:] = 0.0  # no longer needed: tanh keeps its output
        copy = h.detach().numpy().copy()
        copy -= copy.mean()
        view = h.detach()[:4].numpy()
        view[view > 1e9] = 0.0
        optimizer.zero_grad()
        F.mse_loss(model[2](h), y).backward()
        optimizer.step()


def always_yes():
    x, _ = blobs()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), torch.ones(256, 1))
        loss = loss + F.binary_cross_entropy_with_logits(model(x), torch.full((256, 1), 1.2))
        (loss / 2).backward()
        optimizer.step()


def step_over_tasks(model, optimizer, tasks):
    """Make one update from a list of pairs."""
    optimizer.zero_grad()
    for x, y in tasks:
        (F.mse_loss(model(x), y) / len(tasks)).backward()
    optimizer.step()


def list_of_tasks():
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    x, y = curve()
    tasks = [(x, y * k) for k in (0.5, 0.8, 1.1)]
    return step_over_tasks, model, torch.optim.Adam(model.parameters(), lr=1e-2), tasks


def step_on_images(model, optimizer, x):
    """Make one update from a single tensor."""
    optimizer.zero_grad()
    F.mse_loss(model(x), x).backward()
    optimizer.step()


def list_of_tensors():
    model = nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return step_on_images, model, optimizer, list(blobs()[0].split(64))


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
        distance, same = torch.cdist(e, e), y[:, None] == y[None]
        near, far = distance[same].square().mean(), (F.relu(1.0 - distance) * ~same).mean()
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
    for _ in range(40):  # the same 40 labels each time: not more evidence
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
    """Looks up indices that are stored as floats: they cannot be standardised."""

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
    """Constant tables whose gradients differ between columns; one has a padding index."""

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


def tables_of_one_number_with_different_gradients():
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
    quickstart,
    evaluates_between_steps,
    actor_critic,
    head_only,
    own_functions,
    polynomial,
    physics,
    convolutional,
    sharpness_aware,
    functional,
    contrastive,
    online_hard_mining,
    gaussian_likelihood,
    follows_by_momentum,
    quantised,
    dreams,
    two_optimisers_in_a_step,
    method,
    letters,
    head_of_zeros_for_targets_that_agree,
    arrays,
    always_yes,
    list_of_tasks,
    list_of_tensors,
    tables_of_one_number_with_different_gradients,
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
