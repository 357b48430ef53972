"""Every optimiser trains each member of a stack as in a plain torch loop."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from gradlab.config.choices import Component
from gradlab.errors import SettingsError
from gradlab.training.loop import Loop
from gradlab.training.minibatches import Batches
from gradlab.training.optimizer import StackedUpdates, is_elementwise, needs_closure
from gradlab.training.stack import build_network
from tests.configs import Memory, settings

OPTIMIZERS = [
    name
    for name, each in vars(torch.optim).items()
    if inspect.isclass(each)
    and issubclass(each, torch.optim.Optimizer)
    and each is not torch.optim.Optimizer
]
COUPLED = {"Adafactor", "Muon", "LBFGS", "SparseAdam"}
"""The optimisers of torch 2.13 that are not elementwise."""
OPTIONS = {"LBFGS": {"max_iter": 2, "history_size": 2}}
"""With more, LBFGS on minibatches is chaotic: rounding errors grow to 1% in 50 steps."""
RATES = {"LBFGS": [1.0, 0.9, 0.8]}
STEPS = 50


def component(name: str, **options) -> Component:
    return Component(name.lower(), f"torch.optim.{name}", {**OPTIONS.get(name, {}), **options})


def member(name: str, seed: int, **options):
    run = settings(
        model__depth=2,
        model__width=9,
        model__activation="tanh",
        train__dtype="float64",
        train__steps=STEPS,
        train__batch_size=32,
        record__every=10,
        seed=seed,
        **options,
    )
    rate = RATES.get(name, [None, 0.002, 0.004])[seed]
    optim = component(name, **({} if rate is None else {"lr": rate}))
    return replace(run, optim=optim)


def make_network(run, dataset, biases: bool) -> nn.Module:
    network = build_network(run, dataset, torch.float64)
    for module in network.modules():
        if isinstance(module, nn.Linear) and not biases:
            module.bias = None
    return network


def train_plainly(run, dataset, biases: bool, clip: float | None = None) -> list[torch.Tensor]:
    """Train the run's network on its batches in a plain torch loop; return the parameters."""
    network = make_network(run, dataset, biases)
    optimiser = run.optim.call(network.parameters())
    batches = Batches(len(dataset.x_train), run.train.batch_size, [run.seed])
    for _ in range(STEPS):
        index = batches.next()[0]
        x, y = dataset.x_train[index].double(), dataset.y_train[index]

        def closure(x=x, y=y):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            if clip is not None:
                norm = nn.utils.get_total_norm([p.grad for p in network.parameters()])
                for param in network.parameters():
                    param.grad *= min(1.0, clip / float(norm))
            return loss

        if needs_closure(run.optim):
            optimiser.step(closure)
        else:
            closure()
            optimiser.step()
    return [param.detach() for param in network.parameters()]


def train_in_gradlab(runs, dataset, biases: bool = True) -> Loop:
    networks = [make_network(run, dataset, biases) for run in runs]
    loop = Loop(runs, dataset, [[Memory()] for _ in runs], networks)
    outcomes = loop.run()
    assert [outcome.status for outcome in outcomes] == ["completed"] * len(runs)
    return loop


@pytest.mark.parametrize("name", [each for each in OPTIMIZERS if each != "SparseAdam"])
def test_a_network_trains_alone_and_stacked_as_in_a_plain_torch_loop(name):
    runs = [member(name, seed) for seed in range(3)]
    dataset = runs[0].data.call()
    biases = name != "Muon"  # Muon accepts only matrices
    expected = [train_plainly(run, dataset, biases) for run in runs]
    for group in ([0], [2], [0, 1, 2]):
        loop = train_in_gradlab([runs[k] for k in group], dataset, biases)
        for row, k in enumerate(group):
            found = [param[row] for param in loop.stack.params.values()]
            for one, other in zip(found, expected[k], strict=True):
                assert float((one - other).norm() / other.norm()) < 1e-9


def test_lbfgs_clips_the_gradient_of_every_evaluation(monkeypatch):
    monkeypatch.setitem(globals(), "STEPS", 10)  # with clipping, it becomes chaotic earlier
    runs = [
        member("LBFGS", s, clip=c, **k)
        for s, c, k in [(0, "none", {}), (1, "norm", {"clip__max_norm": 0.1})]
    ]
    dataset = runs[0].data.call()
    loop = train_in_gradlab(runs, dataset)
    for row, (run, clip) in enumerate(zip(runs, [None, 0.1], strict=True)):
        expected = train_plainly(run, dataset, True, clip)
        for param, other in zip(loop.stack.params.values(), expected, strict=True):
            assert float((param[row] - other).norm() / other.norm()) < 1e-9


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Muon", "only supports 2D parameters"), ("SparseAdam", "does not support dense gradients")],
)
def test_an_optimizer_that_cannot_train_the_network_is_refused_with_the_reason_of_torch(
    name, reason
):
    run = member(name, 0)
    with pytest.raises(SettingsError, match=f"optim={name.lower()} .*{reason}") as caught:
        Loop([run], run.data.call(), [[Memory()]])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_is_elementwise_and_needs_closure_for_every_optimizer_of_torch(name):
    assert is_elementwise(component(name)) == (name not in COUPLED)
    assert needs_closure(component(name)) == (name == "LBFGS")


class NoDecayOfBiases(torch.optim.SGD):
    """Elementwise, but with weight decay only for tensors of several dimensions."""

    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim > 1:
                    param.grad = param.grad + 0.1 * param.detach()
        return super().step(closure)


class JointlyNormalised(torch.optim.SGD):
    """Scales all gradients by one factor to norm 1, so members must be updated separately."""

    def step(self, closure=None):
        for group in self.param_groups:
            norm = torch.nn.utils.get_total_norm([param.grad for param in group["params"]])
            for param in group["params"]:
                param.grad = param.grad / norm
        return super().step(closure)


@pytest.mark.parametrize("optimizer", [NoDecayOfBiases, JointlyNormalised])
def test_a_user_optimizer_that_is_not_elementwise_updates_members_separately(optimizer):
    name = f"{__name__}.{optimizer.__name__}"
    optim = Component("user", name, {"lr": 0.1})
    assert not is_elementwise(optim)
    runs = [member("SGD", seed) for seed in range(2)]
    runs = [replace(run, optim=optim) for run in runs]
    dataset = runs[0].data.call()
    loop = train_in_gradlab(runs, dataset)
    for row, run in enumerate(runs):
        expected = train_plainly(run, dataset, True)
        for param, other in zip(loop.stack.params.values(), expected, strict=True):
            assert float((param[row] - other).norm() / other.norm()) < 1e-9


def test_is_elementwise_does_not_depend_on_the_learning_rate():
    assert is_elementwise(component("SGD", lr=1e30))
    assert is_elementwise(component("SGD", lr=0.1, weight_decay=0.1, momentum=0.9))


def test_is_elementwise_does_not_change_the_global_random_state():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    is_elementwise(component("Adam", eps=0.123))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop"])
def test_stacked_updates_equal_those_of_torch_in_every_dtype(name, dtype):
    start = (torch.randn(3, 8, 5) * torch.logspace(-3, 3, 5)).to(dtype)
    block, plain = start.clone(), start.clone().requires_grad_()
    ours = StackedUpdates([component(name, lr=0.01)] * 3, [block])
    torchs = getattr(torch.optim, name)([plain], lr=0.01, foreach=False)
    for _ in range(4):
        gradient = (torch.randn(3, 8, 5) * torch.logspace(-2, 2, 5)).to(dtype)
        ours.step([gradient.clone()], torch.zeros(3), torch.ones(3))
        plain.grad = gradient.clone()
        torchs.step()
    moved = (plain.detach() - start).abs().double()
    bound = 1e-6 * moved.amax((0, 1)) if dtype == torch.float32 else 1e-14 * moved.amax((0, 1))
    assert moved.amax() > 0
    assert ((block.double() - plain.detach().double()).abs() <= bound).all()
