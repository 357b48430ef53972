"""The command in a sandbox: files, standard input, limits, signals, temporary folders."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlab.cli.main import main
from gradlab.debugger.sandbox.session import PREFIX, temporary_folder

TRAIN = """
import os, sys, time
import torch
{first}
def main():
    {inside}
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr={lr})
    for _ in range(200):
        x = torch.randn(64, 8)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), x[:, :1]).backward()
        optimizer.step()
        {end}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


def write(*, first="", inside="pass", lr=0.05, end="pass"):
    Path("train.py").write_text(TRAIN.format(first=first, inside=inside, lr=lr, end=end))
    Path("best.pt").write_text("trained for a week")


def assert_untouched():
    assert sorted(os.listdir()) == ["best.pt", "train.py"]
    assert Path("best.pt").read_text() == "trained for a week"
    assert os.listdir("../tmp") == []


def test_each_run_starts_from_the_same_files(capsys):
    write(first="open('best.pt', 'w').close()", inside="os.makedirs('logs')", lr=30.0)
    assert main(["doctor", "train.py:main"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("learning_rate: the learning rate 30 is too large")
    assert printed.err.startswith("sandbox: the program ")
    assert_untouched()


def test_a_program_that_reads_standard_input_is_reported_with_its_line(capsys):
    write(inside="input('Overwrite? (y/n)')")
    assert main(["doctor", "train.py:main"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.py:6: EOFError" in line
    assert line.endswith("train.py:6 reads standard input, which is empty here")
    assert_untouched()


def test_a_program_that_takes_too_long_is_an_error(capsys):
    write(inside="time.sleep(60)")
    assert main(["doctor", "--time", "0.5", "train.py:main"]) == 2
    assert "did not make enough updates in 0.5 s; --time" in capsys.readouterr().err
    assert_untouched()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sandbox", "copy"], "not protected are files outside of this folder and the network"),
        (["--sandbox=overly"], "overly is not a sandbox; did you mean overlay?"),
        (["--time", "-1"], "expected --time SECONDS, a positive number, given -1"),
        (["--memory=much"], "expected --memory GIB, a positive number, given much"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, words, capsys):
    write()
    assert main(["doctor", "train.py:main", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert_untouched()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_files_and_no_processes(number):
    mark = f"gradlab-test-{os.getpid()}-{number}"
    write(first=f"os.open('best.pt', os.O_TRUNC); os.spawnlp(os.P_NOWAIT, 'sleep', '{mark}', '99')")
    Path("train.py").write_text(Path("train.py").read_text() + "time.sleep(99)")

    command = [sys.executable, "-P", "-m", "gradlab", "doctor", "train.py"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as doctor:
        end = time.monotonic() + 60
        while not runs_mark(mark) and time.monotonic() < end:
            time.sleep(0.05)
        for _ in range(3):
            doctor.send_signal(number)
        _, errors = doctor.communicate(timeout=60)
    assert doctor.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in errors
    end = time.monotonic() + 10
    while (runs_mark(mark) or os.listdir("../tmp")) and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs_mark(mark)
    assert_untouched()


def runs_mark(mark):
    """Whether a process with this name runs."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return f"{mark} 99" in done.stdout


def test_folders_without_an_owner_are_removed(tmp_path):
    stale, alive = tmp_path / "tmp" / f"{PREFIX}stale", tmp_path / "tmp" / f"{PREFIX}alive"
    for each in (stale / "1", alive / "1"):
        each.mkdir(parents=True)
    (stale / "lock").touch()
    with (alive / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with temporary_folder() as folder:
            assert folder.parent == tmp_path / "tmp"
            assert sorted(os.listdir("../tmp")) == sorted([alive.name, folder.name])
    assert os.listdir("../tmp") == [alive.name]


def test_a_working_folder_that_does_not_exist_is_an_error(tmp_path, capsys):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["doctor", "train.py"]) == 2
    assert "the current folder no longer exists" in capsys.readouterr().err


API = """
import os, sys
import torch, gradlab
import gradlab.debugger.examine
from pathlib import Path

def step(model, optimizer, batch):
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()
    if writes:
        Path("written").touch()

writes = True
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batch = torch.ones(4, 3)
gradlab.doctor(step, model, optimizer, batch)
assert Path("written").exists()  # the doctor does not restore files
writes, seen = False, []
def record(event, arguments):
    if event == "open" and arguments[0] != os.devnull:
        if (arguments[1] and set(arguments[1]) & set("wxa+")) or arguments[2] & 3:
            seen.append((event, arguments))
    if event.startswith(("os.", "shutil.", "tempfile.")):
        seen.append((event, arguments))
sys.addaudithook(record)
gradlab.doctor(step, model, optimizer, batch)
reads = "os.putenv", "os.unsetenv", "os.chdir", "os.listdir", "os.scandir"
seen = [each for each in seen if each[0] not in reads]
assert not seen, seen
"""


def test_the_function_makes_no_file_operation():
    Path("step.py").write_text(API)
    done = subprocess.run([sys.executable, "step.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


EXPERIMENT_DIES = """
import os
import torch

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
x = torch.randn(32, 3)
y = x.sum(1, keepdim=True)
for step in range(10_000):
    if step == 60:  # the first run is stopped before; an experiment is longer
        os.kill(os.getpid(), 9)
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
"""


def test_an_experiment_whose_process_is_killed_is_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(EXPERIMENT_DIES)
    assert main(["doctor", "train.py"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gradlab: no mistake was found before the experiments, but one of them ")
    assert "SIGKILL" in line
