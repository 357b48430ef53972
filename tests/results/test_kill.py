"""After a run is killed, its files are readable and lack at most the newest rows."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlab.results.load import find

GRADLAB = [sys.executable, "-m", "gradlab", "run", "tracking=none", "model.depth=3"]


def start(folder: Path, *overrides: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*GRADLAB, f"hydra.run.dir={folder}", *overrides],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("after", [0.0, 0.4, 3.0])
def test_files_are_readable_after_sigkill(tmp_path, after):
    with start(tmp_path / "run", "train.steps=1000000", "record.every=1") as process:
        wait_for(tmp_path / "run" / "run.json", process)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
    (run,), damaged = find(tmp_path)
    assert not damaged
    assert run.info["status"] == "running"
    steps, layers = run.steps(), run.layers()
    assert steps["step"].tolist() == list(range(len(steps)))
    assert len(layers) % 4 == 0
    assert layers["delta_norm"].gt(0).all()
    if after >= 3:  # the file was rewritten at least once
        assert len(steps) > 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_complete_the_files(tmp_path, number, code):
    with start(tmp_path / "run", "train.steps=1000000", "record.every=3") as process:
        wait_for(tmp_path / "run" / "run.json", process)
        while not len(find(tmp_path).runs[0].steps()):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    (run,), damaged = find(tmp_path)
    assert not damaged
    assert run.info["status"] == "interrupted"
    assert run.info["verdict"] == "healthy"
    assert run.info["steps"] == len(run.steps())
    assert run.layers()["step"].max() // 3 == (len(run.steps()) - 1) // 3
