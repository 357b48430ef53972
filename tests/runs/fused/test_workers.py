"""Stacks trained in several processes: the same files, also if a process dies."""

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
from gradlab.runs.fused.workers import DeadWorker, choose_workers, distribute, is_worker
from gradlab.training.loop import Loop
from tests.runs.fused.sweeps import SHORT, assert_same, sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux only")


def test_results_of_the_workers_come_back():
    results = dict(distribute(range(5), lambda task: (task**2, is_worker(), os.getpid()), 2))
    assert {task: square for task, (square, *_) in results.items()} == {k: k * k for k in range(5)}
    assert all(forked for _, forked, _ in results.values())
    assert os.getpid() not in {process for *_, process in results.values()}
    assert not is_worker()


def test_a_dead_worker_is_replaced_and_the_cause_is_reported():
    def work(task):
        if task == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == 2:
            os._exit(3)
        return task

    results = dict(distribute(range(6), work, 2))
    dead = {1: DeadWorker("SIGKILL"), 2: DeadWorker("exit code 3")}
    assert results == {0: 0, **dead, 3: 3, 4: 4, 5: 5}


def test_workers_end_when_the_generator_is_closed():
    results = distribute(range(4), lambda task: os.getpid(), 2)
    _, process = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_workers_are_killed_with_the_main_process():
    """Otherwise a worker in a long step would continue to write to the sweep's files."""
    work = 'lambda task: (os.write(1, b"%d\\n" % task), signal.pause())'
    code = (
        "import os, signal; from gradlab.runs.fused.workers import distribute; "
        f"list(distribute([1, 2], {work}, 2))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert {process.stdout.readline() for _ in range(2)} == {b"1\n", b"2\n"}
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # ends when every worker has closed the pipe


def test_the_number_of_workers_is_the_cores_or_the_requested_number():
    assert choose_workers(None) == len(os.sched_getaffinity(0))
    assert choose_workers(3) == 3
    with pytest.raises(SettingsError, match="workers=0: expected 1 or more"):
        choose_workers(0)
    assert main(["run", "-m", "seed=0,1", "hydra.launcher.workers=0"]) == 2


def test_two_workers_write_the_same_files_as_one(capsys):
    swept = ["model.depth=1,3", "clip=none,adaptive", "seed=0,1,2,3", "train.dtype=float64"]
    broken = ["model.init=default,zeros", "model.init_gain=null,2.0"]
    assert sweep("two", *swept, *broken, workers=2) == 1
    two = capsys.readouterr().out
    assert sweep("one", *swept, *broken, workers=1) == 1
    one = capsys.readouterr().out
    assert_same("two", "one")
    lines = [[line.split("] ")[-1] for line in out.splitlines()[1:]] for out in (two, one)]
    assert [line.replace("two", "one") for line in lines[0]] == lines[1]


def test_a_killed_worker_fails_only_its_jobs(capsys, monkeypatch):
    whole = Loop.step

    def killed(self, step, recorded):
        if len(self.recorder.modules) == 2 and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, step, recorded)

    monkeypatch.setattr(Loop, "step", killed)
    assert sweep("s", "model.depth=1,2", "seed=0,1,2,3", workers=2) == 1
    out = capsys.readouterr().out
    assert "4 runs: 4 too_early; 4 failed" in out
    assert "s/0: its process was ended by SIGKILL, which gradlab did not send" in out
    assert "failed: its process" in Path("s/0/gradlab.log").read_text()
    statuses = [run.info["status"] for run in find("s").runs]
    assert statuses == ["running"] * 4 + ["completed"] * 4
    monkeypatch.setattr(Loop, "step", whole)
    assert sweep("s", "model.depth=1,2", "seed=0,1,2,3", "sweep.resume=true", workers=2) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_completes_the_files_of_all_workers(number, code):
    swept = ["model.depth=1,2,3,4", "seed=0,1,2,3", "train.steps=100000"]
    command = [sys.executable, "-m", "gradlab", "run", "-m", *SHORT, *swept]
    command += ["hydra.launcher.workers=2", "hydra.sweep.dir=s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while len(list(Path("s").glob("*/steps.parquet"))) < 8:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "0 runs: none finished; 0 failed; 8 interrupted; 8 did not start" in out.decode()
    assert error.decode() == "gradlab: interrupted; all recorded rows are saved\n"
    runs, damaged = find("s")
    assert not damaged
    assert [run.info["status"] for run in runs] == ["interrupted"] * 8
    for run in runs:
        assert run.info["steps"] == len(run.steps())
