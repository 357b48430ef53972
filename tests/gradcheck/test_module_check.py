"""The check of torch modules: errors, their places, and messages if no gradient can be checked."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gradlab
from gradlab.errors import CheckError

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(8) % 2


def check(model, x=X, y=Y, loss=F.mse_loss, **kwargs):
    return gradlab.check_gradients(model, x, y, loss=loss, **kwargs)


class Wrong(torch.autograd.Function):
    """tanh with a wrong derivative: 1 - z² instead of 1 - tanh(z)²."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.tanh()

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * (1 - z**2)


class WrongTanh(nn.Module):
    def forward(self, x):
        return Wrong.apply(x)


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x).tanh().detach()).tanh())


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(7, 4), nn.LSTM(4, 3, batch_first=True)
        self.out = nn.Linear(3, 2)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0][:, -1])


@pytest.mark.parametrize(
    ("model", "x", "y", "loss"),
    [
        (nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)), X, Y, F.mse_loss),
        (nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2)), X, Y, F.mse_loss),
        (nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, 2)), X, Y, F.mse_loss),
        (nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 2)), X, Y, F.mse_loss),
        (
            nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True),
            X.new_ones(2, 3, 8).cumsum(1),
            X.new_zeros(2, 3, 8),
            F.mse_loss,
        ),
        (Language(), torch.arange(24).view(4, 6) % 7, CLASSES[:4], F.cross_entropy),
        (
            nn.Sequential(nn.Conv1d(1, 3, 2), nn.Flatten(), nn.Linear(12, 2)),
            X[:, None],
            CLASSES,
            F.cross_entropy,
        ),
    ],
    ids=["mlp", "batch norm", "dropout", "in place", "transformer", "lstm", "convolution"],
)
def test_correct_modules_pass_and_are_not_changed(model, x, y, loss):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    report = check(model, x, y, loss)
    assert report.passed, str(report)
    names = {name for name, _ in model.named_parameters()}
    assert {row.name for row in report.rows} - {"input"} == names
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_wrong_backward_is_found_in_its_module():
    model = nn.Sequential(
        nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 7), WrongTanh(), nn.Linear(7, 2), nn.Tanh()
    )
    report = check(model)
    assert not report.passed
    assert report.enters == ["3 (WrongTanh): input"]
    assert {"0.weight", "2.weight"} <= set(report.wrong)
    assert "4.weight" not in report.wrong
    assert "the error enters at 3 (WrongTanh)" in str(report)


def test_a_wrong_backward_is_found_although_its_gradient_vanishes():
    # After ten sigmoid layers, a finite difference of the loss is only rounding.
    sigmoids = [m for _ in range(10) for m in (nn.Linear(7, 7), nn.Sigmoid())]
    report = check(nn.Sequential(nn.Linear(5, 7), WrongTanh(), *sigmoids, nn.Linear(7, 2)))
    assert report.enters == ["1 (WrongTanh): input"]
    assert not report.passed


def test_a_detached_branch_is_located_between_modules():
    report = check(Detached())
    assert set(report.wrong) == {"input", "a.weight", "a.bias"}
    assert report.enters == [
        "Detached, in its forward method, after a and before b: its submodules are right"
    ]
    assert "no gradient arrives, but the loss depends on it" in str(report)


def test_an_unused_parameter_and_a_frozen_one_are_named():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2))
    model[0].unused, model[1].weight.requires_grad = nn.Parameter(torch.ones(2)), False
    text = str(check(model))
    assert "has no gradient: the loss does not depend on it" in text
    assert "1.weight: frozen, so there is no gradient to check" in text


class Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 2)

    def forward(self, x):
        return self.inner(x).float().double()


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.rng = nn.Linear(5, 2), np.random.default_rng(0)

    def forward(self, x):
        return self.inner(x) * self.rng.random()


LINEAR = nn.Linear(5, 2)


@pytest.mark.parametrize(
    ("model", "x", "y", "loss", "words"),
    [
        (LINEAR, X * torch.inf, Y, F.mse_loss, "the output of Linear is not finite"),
        (
            LINEAR,
            X,
            Y,
            lambda o, t: (o - t) ** 2,
            r"one number, given shape \[8, 2\]: take its mean",
        ),
        (LINEAR, X, Y, lambda o, t: 3.0, "one number, given float"),
        (
            nn.Linear(5, 1),
            X,
            Y[:, 0],
            F.mse_loss,
            r"\[8\] against outputs of \[8, 1\] would broadcast",
        ),
        (LINEAR, X, Y[:4], F.mse_loss, "the loss does not accept"),
        (LINEAR, X, CLASSES.double(), F.cross_entropy, "the loss does not accept outputs"),
        (LINEAR, X, Y, "cros_entropy", "did you mean cross_entropy?"),
        (LINEAR, X, Y, None, "expected a loss, a function of"),
        (LINEAR, X[:, :3], Y, F.mse_loss, "the model cannot be run in float64"),
        (
            nn.Sequential(nn.Linear(5, 5), Narrow()),
            X,
            Y,
            F.mse_loss,
            "1 computes in float32, by float: .*inner.weight",
        ),
        (nn.LazyLinear(2), X, Y, F.mse_loss, "weight is not initialised: run the model once"),
        (Random(), X, Y, F.mse_loss, "the loss is random"),
        (
            nn.Sequential(nn.Flatten()),
            torch.arange(10).view(5, 2),
            Y[:5],
            lambda o, t: t.sum(),
            "does not depend on any parameter",
        ),
    ],
)
def test_the_reason_is_given_in_one_line_if_there_is_no_gradient(model, x, y, loss, words):
    with pytest.raises(CheckError, match=words) as caught:
        check(model, x, y, loss)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:DeprecationWarning")
def test_a_scripted_model_is_rejected():
    with pytest.raises(CheckError, match="a scripted model cannot be checked"):
        check(torch.jit.trace(LINEAR, X))


def test_a_complex_parameter_is_named():
    model = nn.Module()
    model.w = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(CheckError, match=r"w is torch\.complex64: expected real numbers"):
        check(model)


def test_a_loss_may_be_named():
    assert check(LINEAR, loss="mse").passed
    assert check(LINEAR, y=CLASSES, loss="focal").passed


def test_a_plain_function_with_its_gradient():
    def f(p):
        return float(np.sum((p["A"] @ p["b"]) ** 2))

    def right(p):
        r = p["A"] @ p["b"]
        return {"A": 2 * np.outer(r, p["b"]), "b": 2 * p["A"].T @ r}

    def wrong(p):
        return {**right(p), "A": 2 * np.outer(p["b"], p["A"] @ p["b"])}

    point = {"A": np.arange(9.0).reshape(3, 3) / 9, "b": np.array([1.0, -2.0, 0.5])}
    assert gradlab.check_gradients(f, point, gradient=right).passed
    report = gradlab.check_gradients(f, point, gradient=wrong)
    assert report.wrong == ["A"]
    assert "the error enters at A" in str(report)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scheme": "twosided"}, "did you mean two_sided?"),
        ({"tolerance": 0.0}, "tolerance=0.0: expected a number above 0"),
        ({"samples": 0}, "samples=0: expected 1, 2"),
        ({"gradient": lambda x: {"y": x}}, "expected a gradient with the keys x"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, words):
    arguments = {"gradient": lambda x: {"x": 2 * x["x"]}, **arguments}
    point = {"x": np.ones(2)}
    with pytest.raises(CheckError, match=words):
        gradlab.check_gradients(lambda p: float((p["x"] ** 2).sum()), point, **arguments)


def test_invalid_subjects_are_rejected():
    with pytest.raises(CheckError, match="given a int"):
        gradlab.check_gradients(3, X, Y)
    rng = np.random.default_rng(0)
    with pytest.raises(CheckError, match="random"):
        gradlab.check_gradients(lambda x: rng.random(), np.ones(2), gradient=lambda x: x)
    with pytest.raises(CheckError, match="one number"):
        gradlab.check_gradients(lambda x: x, np.ones(2), gradient=lambda x: x)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.b(torch.tanh(checkpoint(self.a, x, use_reentrant=False)))


class Twice(nn.Module):
    """Calls one activation twice; its gradient is wrong only for the second input."""

    def __init__(self):
        super().__init__()
        self.l, self.a, self.o = nn.Linear(5, 5), WrongBelow(), nn.Linear(5, 2)

    def forward(self, x):
        return self.o(self.a(self.l(self.a(x.abs()))))


class Below(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clone()

    @staticmethod
    def backward(ctx, grad):
        return torch.where(ctx.saved_tensors[0] < 0, 3 * grad, grad)


class WrongBelow(nn.Module):
    def forward(self, z):
        return Below.apply(z)


class Whole(nn.Module):
    """Twenty sigmoid layers in one module; the second has a wrong gradient."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.ParameterList(
            [torch.randn(5, 5, generator=generator) / 5**0.5 for _ in range(20)]
        )

    def forward(self, x):
        for i, w in enumerate(self.w):
            x = x @ (Below.apply(w) if i == 1 else w)
            x = x.sigmoid()
        return x[:, :2]


def test_checkpoints_are_checked():
    assert check(Checkpointed()).passed


def test_a_module_that_is_wrong_only_in_its_second_call_is_found():
    assert check(Twice()).enters == ["a (WrongBelow): input"]


def test_undecided_gradients_are_not_counted_as_right():
    report = check(Whole())
    assert report.passed  # nothing was shown to be wrong
    assert "w.1" in report.undecided
    assert "all 21" not in str(report)
    assert f"{21 - len(report.undecided)} of 21 gradients are right" in str(report)


def test_a_gradient_hook_is_part_of_the_gradient():
    model = nn.Linear(5, 2)
    model.weight.register_hook(lambda grad: 2 * grad)
    assert check(model).wrong == ["weight"]
    model = nn.Linear(5, 2)
    model.weight.register_post_accumulate_grad_hook(lambda p: None)
    assert "weight: hooks after accumulation are not checked" in str(check(model))


@pytest.mark.parametrize("mistake", ["scaled", "detached"])
def test_a_wrong_gradient_of_the_loss_is_located_at_the_loss(mistake):
    def loss(output, target):
        error = output - target
        if mistake == "detached":
            return (error * error.detach()).mean()
        return (error**2).mean() / 2 + ((error**2).mean() / 2).detach()

    assert check(nn.Linear(5, 2), loss=loss).enters == ["the loss: dLoss/doutput"]


def test_an_embeddings_padding_has_no_gradient_by_design():
    model = nn.Sequential(nn.Embedding(10, 5, padding_idx=0), nn.Flatten(), nn.Linear(15, 2))
    tokens = torch.arange(24).view(8, 3) % 10
    report = check(model, tokens, CLASSES, F.cross_entropy, samples=None)
    assert report.passed, str(report)
    assert "row 0 is padding" in str(report)


def test_one_wrong_element_of_many_is_found_if_all_are_checked():
    class OneWrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            return w.clone()

        @staticmethod
        def backward(ctx, grad):
            grad = grad.clone()
            grad[31, 7] *= 2
            return grad

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return x @ OneWrong.apply(self.w)

    model = nn.Sequential(nn.Linear(5, 40), Wide(), nn.Linear(40, 2))
    report = check(model, samples=None)
    assert report.wrong == ["1.w"]
    assert report.enters == ["1 (Wide): w"]


def test_nested_inputs_and_tensors_of_the_loss_become_float64():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(5, 2)

        def forward(self, batch):
            return self.l(batch["a"] + batch["b"])

    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    report = check(Sum(), {"a": X, "b": X**2}, CLASSES, weighted)
    assert report.passed
    assert {row.name for row in report.rows} == {"input", "input 2", "l.weight", "l.bias"}
    with torch.no_grad():
        assert check(nn.Linear(5, 2)).passed


def test_the_buffers_of_spectral_normalisation_stay_fixed():
    model = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 2))
    assert check(model).undecided == []
