"""SIGTERM in a watched program: the last rows are on disk, and the program ends by the signal."""

import signal
import subprocess
import sys

from gradlab.results.load import find

PROGRAM = """
import os, signal, sys, torch, gradlab
{before}
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with gradlab.watch(model, optimizer, sinks=gradlab.sinks.Parquet("out", interval=1e9)):
    for step in range(9):
        optimizer.zero_grad()
        model(torch.ones(8, 4)).square().mean().backward()
        optimizer.step()
        if step == 4:
            {action}
"""
TERM = "os.kill(os.getpid(), signal.SIGTERM)"


def run(folder, action=TERM, before=""):
    program = PROGRAM.format(action=action, before=before)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert "Traceback" not in process.stderr
    (record,), damaged = find(folder / "out")
    assert not damaged
    assert not list((folder / "out").glob(".*"))
    return process.returncode, record.info["status"], len(record.steps())


def test_sigterm_writes_the_last_rows_and_ends_the_program(tmp_path):
    assert run(tmp_path) == (-signal.SIGTERM, "interrupted", 5)


def test_a_program_with_its_own_handler_keeps_it(tmp_path):
    assert run(tmp_path, before="signal.signal(15, lambda *_: None)") == (0, "completed", 9)


def test_sigterm_in_a_fork_ends_only_the_fork(tmp_path):
    fork = (
        "pid = os.fork() or (os.kill(os.getpid(), 15), os._exit(0)); "
        "assert os.waitpid(pid, 0)[1] == 15"
    )
    assert run(tmp_path, fork) == (0, "completed", 9)


TWICE = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
import gradlab, torch
from gradlab.monitor.monitor import Monitor

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
complete = Monitor._complete

def interrupted_again(monitor, error):
    os.kill(os.getpid(), signal.SIGINT)
    complete(monitor, error)

Monitor._complete = interrupted_again
with gradlab.watch(model, optimizer, sinks=gradlab.sinks.Parquet("out", interval=1e9)):
    for step in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    os.kill(os.getpid(), signal.SIGINT)
"""


AT_START = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
import gradlab, torch
from gradlab.sinks.protocol import Sinks

opened = Sinks.open

def interrupted(sinks, run):
    opened(sinks, run)
    os.kill(os.getpid(), signal.SIGINT)

Sinks.open = interrupted
with gradlab.watch(torch.nn.Linear(4, 1), sinks=gradlab.sinks.Parquet("out")):
    pass
"""


def test_ctrl_c_during_the_start_leaves_no_run_that_is_running(tmp_path):
    done = subprocess.run([sys.executable, "-c", AT_START], cwd=tmp_path, capture_output=True)
    assert done.returncode == -signal.SIGINT
    (run,) = find(tmp_path).runs
    assert run.info["status"] == "interrupted"


def test_a_second_ctrl_c_does_not_lose_the_rows(tmp_path):
    done = subprocess.run([sys.executable, "-c", TWICE], cwd=tmp_path, capture_output=True)
    assert done.returncode == -signal.SIGINT
    (run,) = find(tmp_path).runs
    assert run.info["status"] == "interrupted"
    assert len(run.steps()) == 5
