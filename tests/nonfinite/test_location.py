"""The locator names the planted operation, its line and its stage; sound programs have none."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.guard import NonfiniteGuard

INF = math.inf


def locate(
    program: Callable[[Tensor], Tensor], *values: float, **modules: nn.Module
) -> list[Fault]:
    """Run the forward and backward pass of a program of one parameter; return the faults."""
    p = nn.Parameter(torch.tensor(values))
    named = {"p": p, **{f"{k}.{n}": q for k, m in modules.items() for n, q in m.named_parameters()}}
    names = {
        id(part): f"{k}.{n}".rstrip(".")
        for k, m in modules.items()
        for n, part in m.named_modules()
    }
    guard = NonfiniteGuard(lambda: named, lambda: names, lambda: 7, on_failure=_raise)
    with guard.observe():
        program(p).backward()
    return guard.faults


def _raise(error: Exception) -> None:
    raise error


FORWARD = {
    "log": (lambda x: torch.log(x).sum(), (1.0, 0.0)),
    "log2": (lambda x: torch.log2(x).sum(), (1.0, -1.0)),
    "log1p": (lambda x: torch.log1p(x).sum(), (-1.0, 0.0)),
    "sqrt": (lambda x: torch.sqrt(x).sum(), (-1.0, 1.0)),
    "rsqrt": (lambda x: torch.rsqrt(x).sum(), (0.0, 1.0)),
    "div": (lambda x: (x / (x - 1)).sum(), (1.0, 2.0)),
    "reciprocal": (lambda x: x.reciprocal().sum(), (0.0, 2.0)),
    "pow": (lambda x: (x**0.3).sum(), (-1.0, 2.0)),
    "exp": (lambda x: torch.exp(x).sum(), (90.0, 2.0)),
    "cosh": (lambda x: torch.cosh(x).sum(), (90.0, 2.0)),
    "acos": (lambda x: torch.acos(x).sum(), (1.1, 0.0)),
    "atanh": (lambda x: torch.atanh(x).sum(), (1.0, 0.0)),
    "logit": (lambda x: torch.logit(x).sum(), (0.0, 0.5)),
    "softmax": (lambda x: F.softmax(x.masked_fill(x < 9, -INF), 0).sum(), (1.0, 2.0)),
    "log_softmax": (lambda x: F.log_softmax(x.masked_fill(x < 9, -INF), 0).sum(), (1.0, 2.0)),
    "std": (lambda x: x[:1].std(), (1.0, 2.0)),
    "mul": (lambda x: (x * 1e30 * 1e30).sum(), (1.0, 2.0)),
    "sum": (lambda x: (x * 3e38).sum(), (1.0, 1.0)),
    "mean": (lambda x: x[x > 5].mean(), (1.0, 2.0)),
    "to": (lambda x: x.half().sum(), (70_000.0, 1.0)),
    "matmul": (lambda x: (x.half()[None] @ x.half()[:, None]).float().sum(), (300.0, 300.0)),
    "nll_loss": (
        lambda x: F.nll_loss(F.log_softmax(x.masked_fill(x > 1, -INF), 0)[None], torch.tensor([1])),
        (1.0, 2.0),
    ),
}
BACKWARD = {
    "sqrt": (lambda x: torch.sqrt(x).sum(), (0.0, 1.0)),
    "pow": (lambda x: (x**0.5).sum(), (0.0, 1.0)),
    "acos": (lambda x: torch.acos(x).sum(), (1.0, 0.0)),
    "asin": (lambda x: torch.asin(x).sum(), (-1.0, 0.0)),
    "acosh": (lambda x: torch.acosh(x).sum(), (1.0, 2.0)),
    "log": (lambda x: torch.where(x > 0, torch.log(x), x).sum(), (0.0, 1.0)),
}
HIDDEN = {
    "exp": (lambda x: torch.where(x <= 0, torch.exp(x * 90), x).sum(), (-1.0, 1.0)),
    "div": (lambda x: torch.where(x > 0, 1 / x, x).sum(), (0.0, 1.0)),
}
SOUND = {
    "where": lambda x: torch.where(x > 0, torch.log(x.clamp(min=1e-6)), x).sum(),
    "mask": lambda x: F.softmax(x.masked_fill(x > 1, -INF), 0)[0],
    "infinite mask": lambda x: (F.softmax(x + torch.tensor([0.0, -INF]), 0) * x).sum(),
    "maximum of inf": lambda x: torch.minimum(x, torch.tensor(INF)).sum(),
    "sqrt": lambda x: torch.sqrt(x.clamp(min=1e-12)).sum(),
    "large gradient": lambda x: (x * 1e25).sum(),
}


@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *(("forward", name) for name in FORWARD),
        *(("backward", name) for name in BACKWARD),
        *(("hidden", name) for name in HIDDEN),
    ],
)
def test_the_planted_operation_and_its_line_are_named(stage, name):
    table = {"forward": FORWARD, "backward": BACKWARD, "hidden": HIDDEN}[stage]
    program, values = table[name]
    (fault,) = locate(program, *values)
    reciprocal = name == "div" and stage == "hidden"  # 1 / x
    assert (fault.stage, fault.operation) == (stage, "reciprocal" if reciprocal else name)
    first = program.__code__.co_firstlineno
    assert first <= int(fault.line.rpartition(":")[2]) <= first + 2
    assert fault.exact
    assert fault.step == 7
    assert fault.reason


@pytest.mark.parametrize("name", SOUND)
def test_sound_programs_have_no_fault(name):
    assert locate(SOUND[name], 1.0, 2.0) == []


def test_the_sentence_names_operation_argument_and_reason():
    (fault,) = locate(FORWARD["exp"][0], *FORWARD["exp"][1])
    assert fault.sentence().endswith("received 90; the loss is inf")
    assert fault.reason == "exp(x) exceeds 3.4e+38, the largest number of float32, for x above 88.7"


class Cell(nn.Module):
    """A cell whose state grows until exp overflows, at the fourth call."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.exp(h) + x


class Rnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    def forward(self, x: Tensor) -> Tensor:
        h = x * 0
        for _ in range(6):
            h = self.cell(x, h)
        return h


def test_a_module_is_named_with_the_number_of_its_call():
    model = Rnn()
    (fault,) = locate(lambda x: model(x).sum(), 1.0, model=model)
    assert (fault.operation, fault.module) == ("exp", "model.cell")
    h, calls = 0.0, 0
    while h < 89:
        h, calls = math.exp(h) + 1, calls + 1
    assert fault.call == calls + 1
    assert f"in module `model.cell` (call {fault.call})" in fault.sentence()


class Noisy(nn.Module):
    """Dropout, batch normalisation, state, and a logarithm that is -inf where dropout acts."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 8), nn.BatchNorm1d(8)
        self.outputs: list[Tensor] = []
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(self.norm(self.linear(x)).abs() + 1, 0.1)
        self.outputs.append(h.detach())
        self.count += 1
        return torch.log(h)


def test_random_numbers_repeat_and_state_is_unchanged_by_the_location():
    torch.manual_seed(3)
    model = Noisy()
    x = torch.randn(32, 2)
    outputs: list[Tensor] = []

    def program(p: Tensor) -> Tensor:
        outputs.append(model(x * p))
        return outputs[0].sum()

    state = {name: value.clone() for name, value in model.state_dict().items()}
    (fault,) = locate(program, 1.0, model=model)
    after, rng = model.state_dict(), torch.get_rng_state()
    assert fault.exact
    assert fault.operation == "log"
    assert fault.received == "received 0"
    assert (model.count, len(model.outputs)) == (1, 1)
    model.load_state_dict(state)
    torch.manual_seed(3)
    Noisy(), torch.randn(32, 2)
    assert torch.equal(model(x * 1.0), outputs[0])
    assert torch.equal(torch.get_rng_state(), rng)
    for name, value in model.state_dict().items():
        assert torch.equal(value, after[name])


def test_values_that_were_not_finite_before_the_step_are_data():
    batch = torch.zeros(4, 3)
    batch[2, 1] = torch.nan
    model = nn.Linear(3, 2)
    (fault,) = locate(lambda p: model(batch).sum() * p.sum(), 1.0, model=model)
    assert fault.stage == "data"
    assert "contains 1 NaN; the first at index (2, 1)" in fault.sentence()


def test_a_masked_mean_over_an_infinite_entry_is_named_at_its_product():
    (fault,) = locate(lambda p: (p * torch.tensor([INF, 1.0])).sum(), 0.0, 1.0)
    assert fault.stage == "data"


def test_in_place_operations_repeat():
    def program(p: Tensor) -> Tensor:
        h = p * 2
        h += 1
        h[0] = 0
        h.mul_(3)
        return torch.log(h).sum()

    (fault,) = locate(program, 1.0, 2.0)
    assert fault.exact
    assert fault.operation == "log"


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_modules(reentrant):
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def program(p: Tensor) -> Tensor:
        out = checkpoint(model, p[None], use_reentrant=reentrant)
        return torch.sqrt(out - out).sum()

    (fault,) = locate(program, 1.0, model=model)
    assert (fault.stage, fault.operation) == ("backward", "sqrt")


class Double(torch.autograd.Function):
    """Twice its argument, with a wrong gradient of 0 / 0."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad / (grad - grad) * 0


def test_a_custom_function_is_named_where_a_module_calls_it():
    class Twice(nn.Module):
        def forward(self, x):
            return Double.apply(x)

    model = Twice()
    (fault,) = locate(lambda p: model(p).sum(), 1.0, model=model)
    assert (fault.stage, fault.module) == ("backward", "model")
    assert fault.operation == "div"  # in the backward pass of the function


def test_accumulated_passes_and_a_retained_graph():
    p = nn.Parameter(torch.tensor([1.0, 0.0]))
    guard = NonfiniteGuard(lambda: {"p": p}, dict, lambda: 0, on_failure=_raise)
    with guard.observe():
        (p * 2).sum().backward()
        shared = torch.sqrt(p)
        (shared[0] * 2).backward(retain_graph=True)
        shared[1].backward()
    (fault,) = guard.faults
    assert fault.operation == "sqrt"


def test_float16_names_its_largest_number():
    layer = nn.Linear(4, 4, bias=False).half()
    with torch.no_grad():
        layer.weight.fill_(200)
    (fault,) = locate(lambda p: layer((p * 100).half()).float().sum(), *[1.0] * 4, layer=layer)
    assert fault.module == "layer"
    assert fault.reason == "the result exceeds 65,504, the largest number of float16"


@pytest.mark.parametrize(
    ("eps", "dtype", "words"),
    [(1e-8, torch.float16, "eps=1e-08 is 0 in float16"), (0.0, torch.float32, "eps is 0")],
)
def test_the_arithmetic_of_the_optimiser(eps, dtype, words):
    p = nn.Parameter(torch.ones(4, dtype=dtype))
    optimizer = torch.optim.Adam([p], lr=1e-3, eps=eps)
    steps = []
    guard = NonfiniteGuard(lambda: {"p": p}, dict, lambda: len(steps), on_failure=_raise)
    with guard.observe():
        for _ in range(2):
            optimizer.zero_grad()
            (p[:2].float().sum() * 1e-2 + p[2:].float().sum() * 0).backward()
            optimizer.step()
            steps.append(1)
    (fault,) = guard.faults
    assert (fault.stage, fault.step) == ("update", 0)
    assert words in fault.reason


def test_a_fault_survives_json():
    (fault,) = locate(FORWARD["log"][0], *FORWARD["log"][1])
    assert Fault.from_dict(fault.as_dict() | {"unknown": 1}) == fault
