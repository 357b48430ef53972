"""`gradlab doctor`: functions, files and scripts; printed text, and exit codes."""

import sys
from pathlib import Path

import pytest

from gradlab.cli.main import main

SCRIPT = """
import torch
from torch.nn.functional import mse_loss

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
x, y = torch.randn(32, 3), torch.randn(32, 1)
for step in range(10_000_000):
    {zero}
    loss = mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    print(step, loss.item())
open("finished", "w").close()
"""
ZERO = "optimizer.zero_grad()"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["gradlab"])


def test_a_script_with_a_mistake(capsys):
    Path("train.py").write_text(SCRIPT.format(zero="pass"))
    assert main(["doctor", "train.py"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("no_zero_grad: ")
    assert "train.py:11: loss.backward()" in printed.out
    assert len(printed.out.splitlines()) == 4
    (line,) = printed.err.splitlines()
    assert line.startswith("sandbox: the program ")
    assert not Path("finished").exists()


def test_a_script_without_one(capsys):
    Path("train.py").write_text(SCRIPT.format(zero=ZERO))
    assert main(["doctor", "train.py"]) == 0
    assert capsys.readouterr().out.startswith("nothing found in the first updates; looked for: ")


def test_a_function_of_a_file_and_of_a_module(capsys):
    body = SCRIPT.format(zero="pass").replace("\n", "\n    ")
    Path("looping.py").write_text(f"def main(steps=5):{body}\n")
    assert main(["doctor", "looping.py:main"]) == 1
    assert main(["doctor", "looping:main"]) == 1
    assert main(["doctor", "gradlab.mistakes.cases.plain_list:broken"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected one MODULE:FUNCTION or FILE.py, given 0"),
        (["a:b", "c:d"], "given 2"),
        (["--verbos"], "--verbos is not a flag"),
        (
            ["thing"],
            "expected MODULE:FUNCTION or FILE.py, given 'thing'; choose from broken.py, small.py",
        ),
        (["smal.py"], "smal.py is not a file; did you mean small.py?"),
        (["nowhere/train.py"], "nowhere/train.py is not a file"),
        ([":main"], "expected MODULE:FUNCTION or FILE.py, given ':main'"),
        ([""], "expected MODULE:FUNCTION or FILE.py, given ''"),
        (["smal:main"], "there is no module smal; did you mean small.py?"),
        (["gradlab.nothing:main"], "there is no module gradlab.nothing; choose from"),
        (["small.py:mian"], "small.py has no function mian; did you mean main?"),
        (["small.py:needs"], "expected small.py:needs to need no arguments, but it needs lr"),
        (["small.py:main"], "optimizer.step() is not run"),
        (["small.py:fails"], "small.py:6: ValueError: bad"),
        (["small.py:ends"], "expected a training, but the program ends before its first update"),
        (["broken.py:main"], "broken.py cannot be imported: "),
    ],
)
def test_a_wrong_command_is_one_line(arguments, words, capsys):
    Path("small.py").write_text(
        "def main():\n    return 1\ndef needs(lr):\n    pass\ndef fails():\n"
        "    raise ValueError('bad')\ndef ends():\n    raise SystemExit(0)\n"
    )
    Path("broken.py").write_text("def main(:\n")
    assert main(["doctor", *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert words in errors[0]


ENDS = """
import argparse, sys
import torch
from torch.nn.functional import mse_loss

def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    return parser.parse_args()

def main():
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = torch.randn(32, 3), torch.randn(32, 1)
    for step in range(parsed().steps):
        loss = mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "best.pt")
    return {returned}

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.parametrize("target", ["train.py", "train.py:main", "train:main"])
def test_a_program_with_a_command_line_that_ends_itself(target, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gradlab", "doctor", target])
    Path("train.py").write_text(ENDS.format(returned="0"))
    Path("best.pt").write_text("trained for a week")
    assert main(["doctor", target]) == 1
    assert capsys.readouterr().out.startswith("no_zero_grad: ")
    assert Path("best.pt").read_text() == "trained for a week"
    sys.modules.pop("train", None)


def test_help(capsys):
    assert main(["doctor", "--help"]) == 0
    assert "gradlab doctor MODULE:FUNCTION" in capsys.readouterr().out
