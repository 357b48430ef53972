"""Stacks that are trained by processes side by side: the same files, whatever befalls a process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlab.cli.main import main
from gradlab.errors import SettingsError
from gradlab.results.load import find
from gradlab.runs.fused.workers import Lost, number, share, working
from gradlab.training.loop import Loop
from tests.runs.fused.sweeps import SHORT, assert_same, sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no forks")


def test_what_they_make_comes_back():
    found = dict(share(range(5), lambda task: (task**2, working(), os.getpid()), 2))
    assert {task: square for task, (square, *_) in found.items()} == {k: k * k for k in range(5)}
    assert all(forked for _, forked, _ in found.values())
    assert os.getpid() not in {process for *_, process in found.values()}
    assert not working()


def test_one_that_dies_is_replaced_and_its_task_is_lost():
    def work(task):
        if task == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == 2:
            os._exit(3)
        return task

    found = dict(share(range(6), work, 2))
    assert found == {0: 0, 1: Lost("SIGKILL"), 2: Lost("exit code 3"), 3: 3, 4: 4, 5: 5}


def test_all_end_with_whoever_stops_asking():
    working_on = share(range(4), lambda task: os.getpid(), 2)
    _, process = next(working_on)
    working_on.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_all_are_killed_with_the_process_that_began_them():
    """Else one that is in the midst of a long step would go on writing to the sweep's files."""
    work = "lambda task: (print(task, flush=True), signal.pause())"
    code = (
        "import signal; from gradlab.runs.fused.workers import share; "
        f"list(share([1, 2], {work}, 2))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert {process.stdout.readline() for _ in range(2)} == {b"1\n", b"2\n"}
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # which ends when no worker holds the pipe any more


def test_their_number():
    assert number(None) == len(os.sched_getaffinity(0))
    assert number(3) == 3
    with pytest.raises(SettingsError, match="workers=0: expected 1 or more"):
        number(0)
    assert main(["run", "-m", "seed=0,1", "hydra.launcher.workers=0"]) == 2


def test_two_leave_what_one_leaves(capsys):
    swept = ["model.depth=1,3", "clip=none,adaptive", "seed=0,1,2,3", "train.dtype=float64"]
    broken = ["model.init=default,zeros", "model.init_gain=null,2.0"]
    assert sweep("two", *swept, *broken, workers=2) == 1
    two = capsys.readouterr().out
    assert sweep("one", *swept, *broken, workers=1) == 1
    one = capsys.readouterr().out
    assert_same("two", "one")
    told = [[line.split("] ")[-1] for line in out.splitlines()[1:]] for out in (two, one)]
    assert [line.replace("two", "one") for line in told[0]] == told[1]


def test_a_killed_one_fails_its_own_jobs_and_no_other(capsys, monkeypatch):
    whole = Loop.step

    def killed(self, step, recorded):
        if len(self.recorder.modules) == 2 and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, step, recorded)

    monkeypatch.setattr(Loop, "step", killed)
    assert sweep("s", "model.depth=1,2", "seed=0,1,2,3", workers=2) == 1
    out = capsys.readouterr().out
    assert "4 runs: 4 healthy; 4 failed" in out
    assert "s/0: its process was ended by SIGKILL, which gradlab did not send" in out
    assert "failed: its process" in Path("s/0/gradlab.log").read_text()
    statuses = [run.info["status"] for run in find("s").runs]
    assert statuses == ["running"] * 4 + ["completed"] * 4
    monkeypatch.setattr(Loop, "step", whole)
    assert sweep("s", "model.depth=1,2", "seed=0,1,2,3", "sweep.resume=true", workers=2) == 0


@pytest.mark.parametrize(("ask", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_completes_the_files_of_all(ask, code):
    swept = ["model.depth=1,2,3,4", "seed=0,1,2,3", "train.steps=100000"]
    command = [sys.executable, "-m", "gradlab", "run", "-m", *SHORT, *swept]
    command += ["hydra.launcher.workers=2", "hydra.sweep.dir=s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while len(list(Path("s").glob("*/steps.parquet"))) < 8:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(ask)
        out, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "0 runs: none finished; 0 failed; 8 interrupted; 8 did not start" in out.decode()
    assert error.decode() == "gradlab: interrupted; what was recorded is complete\n"
    runs, damaged = find("s")
    assert not damaged
    assert [run.info["status"] for run in runs] == ["interrupted"] * 8
    for run in runs:
        assert run.info["steps"] == len(run.steps())
