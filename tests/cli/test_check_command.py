"""`gradlab check` and `train.check_gradients`: printed results, and refused training."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gradlab.cli.main import main

SMALL = ["model.depth=2", "model.width=6", "train.batch_size=8", "check.elements=5"]


class Bent(torch.autograd.Function):
    """tanh with half the right derivative."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z.tanh())
        return z.tanh()

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved_tensors
        return grad * (1 - a**2) / 2


class BentTanh(nn.Module):
    def forward(self, z):
        return Bent.apply(z)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_right_network_passes_all_three_checks(capsys):
    assert main(["check", *SMALL, "model.activation=tanh"]) == 0
    printed = capsys.readouterr().out
    assert "all 7 gradients are right" in printed
    assert "the hand-written gradients differ from autograd's by at most" in printed
    assert not list(Path().iterdir())


def test_a_wrong_activation_is_located(capsys):
    wrong = f"model.activation={__name__}.BentTanh"
    assert main(["check", *SMALL, wrong]) == 1
    printed = capsys.readouterr().out
    assert "the error enters at layers.1.activation (BentTanh): input" in printed
    assert "not compared with a hand-written backward pass" in printed


def test_a_wrong_gradient_is_not_trained(capsys):
    short = ["tracking=none", "model.depth=2", "train.steps=3", "hydra.run.dir=out"]
    wrong = f"model.activation={__name__}.BentTanh"
    assert main(["run", *short, "train.check_gradients=true", wrong]) == 1
    message = capsys.readouterr().err
    assert "not trained, because its gradients are wrong" in message
    assert "layers.1.activation (BentTanh)" in message
    assert not Path("out/run.json").exists()
    assert main(["run", *short, wrong]) == 0


def test_a_network_with_right_gradients_is_trained_with_the_same_result(capsys):
    from gradlab.results.load import load

    short = ["tracking=none", "model.depth=2", "train.steps=3"]
    assert main(["run", *short, "hydra.run.dir=out/a", "train.check_gradients=true"]) == 0
    assert "differ from autograd's by at most" in capsys.readouterr().out
    assert main(["run", *short, "hydra.run.dir=out/b"]) == 0
    frames = load("out")
    assert frames.runs["config_hash"].nunique() == 1
    losses = [group["loss"].tolist() for _, group in frames.steps.groupby("run")]
    assert losses[0] == losses[1]


def test_mutations_prints_a_table(capsys):
    assert main(["check", "--mutations"]) == 0
    assert "16 of 16 mistakes found where they are" in capsys.readouterr().out


def test_trade_off_prints_and_draws_the_error(capsys):
    assert main(["check", "--trade-off", *SMALL, "model.activation=tanh"]) == 0
    printed = capsys.readouterr().out
    assert "one-sided: error ~ h^1.0" in printed
    assert "check/trade_off.png" in printed
    assert Path("check/trade_off.svg").exists()


@pytest.mark.parametrize("command", ["check", "explain"])
def test_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"gradlab {command} [overrides]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check.elements=0"], "check.elements=0: expected a whole number of at least 1"),
        (["check.scheme=twosided"], "did you mean two_sided?"),
        (["check.tol=1"], "did you mean check.tolerance?"),
        (["data=delivery"], "cross_entropy is for classification"),
        (["loss=hubr"], "did you mean huber?"),
        (["--tradeoff"], "did you mean --trade-off?"),
        (["--mutations", "model.depth=2"], "--mutations takes no other arguments"),
        (["model.init=normal", "model.init_gain=1e200"], "is not finite"),
    ],
)
def test_a_wrong_command_gives_a_one_line_error(arguments, words, capsys):
    assert main(["check", *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert len(message.strip().splitlines()) == 1
