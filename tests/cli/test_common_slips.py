"""Mistakes that people really make on the command line: the message gives the right command."""

import sys

import pytest

from gradlab.cli.main import main


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gradlab"])


SWEEP = "model.depth=5,20: expected one value; to sweep, add -m: gradlab run -m model.depth=5,20"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run model.depth=5,20", SWEEP),
        ("check model.depth=5,20", SWEEP),
        ("run train.lr=0.1", "train.lr is not a key; did you mean optim.lr?"),
        ("run +train.lr=0.1", "train.lr is not a key; did you mean optim.lr?"),
        ("predict lr=0.1", "lr is not a key; did you mean optim.lr?"),
        ("run optim.depth=3", "optim.depth is not a key; did you mean model.depth?"),
        ("run model.eps=1", "model.eps is not a key; did you mean clip.eps or optim.eps?"),
        ("run foo=1", "foo is not a key; gradlab run --cfg job lists all keys"),
        ("run clip.max_norm=2", "not a key of the chosen clip; it belongs to clip=layer and clip="),
        ("run model=rnn data=adding", "data=adding is a regression task: add loss=mse"),
        ("run --depth 10", "--depth is not a flag; did you mean model.depth=10?"),
        ("run --depth=10", "--depth=10 is not a flag; did you mean model.depth=10?"),
        ("run model.width=8 --lr 0.1", "did you mean optim.lr=0.1?"),
        ("run --batch-size", "did you mean train.batch_size=VALUE?"),
        ("predict --depth 10", "did you mean model.depth=10?"),
        ("explain --layer 2", "did you mean explain.layer=2?"),
        ("run model.activation", "model.activation has no value; choose from elu, gelu, identity"),
        ("predict optim", "optim has no value; choose from adam, adamw, rmsprop, sgd"),
        ("run model.depth", "expected model.depth=VALUE, a whole number of at least 0"),
        ("run depth", "depth is not an override: expected KEY=VALUE; did you mean model.depth?"),
        (
            "doctor train.py --lr 0.1",
            "gradlab doctor passes no arguments to a program, given --lr 0.1: set them in a "
            "function without arguments, and examine train.py:FUNCTION",
        ),
    ],
)
def test_the_message_gives_the_right_command(command, message, capsys):
    assert main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_check_reports_that_it_ignores_the_dtype(capsys):
    small = ["model.depth=1", "model.width=4", "check.elements=1"]
    assert main(["check", *small, "train.dtype=float16"]) == 0
    line = capsys.readouterr().err
    assert line == "train.dtype=float16 is not used: gradlab check computes in float64\n"
    assert main(["check", *small]) == 0
    assert not capsys.readouterr().err
