"""A killed sweep that is started again: finished runs stay, and missing runs are made."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlab.results.load import find
from tests.runs.fused.sweeps import SHORT, assert_same, sweep

LAUNCHERS = ["fused", "basic"]


def make_unfinished(folder: str, status: str = "running") -> None:
    """Change a finished run into an interrupted one."""
    file = Path(folder, "run.json")
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "status": status, "verdict": None}))
    Path(folder, ".layers.parquet.99.tmp").touch()
    Path(folder, "wandb").mkdir()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_only_missing_runs_are_made(launcher, capsys):
    swept = ["seed=0,1,2,3", "clip=none,norm", f"hydra/launcher={launcher}"]
    assert sweep("whole", *swept) == sweep("cut", *swept) == 0
    make_unfinished("cut/1")
    make_unfinished("cut/4", "interrupted")
    Path("cut/6/run.json").unlink()
    Path("cut/7/run.json").write_text("{")
    finished = {k: Path(f"cut/{k}/run.json").stat().st_mtime_ns for k in (0, 2, 3, 5)}
    capsys.readouterr()
    assert sweep("cut", *swept, "sweep.resume=true") == 0
    out = capsys.readouterr().out
    assert "8 runs: 8 too_early; 0 failed" in out
    assert out.count("done before: too_early") == 4
    assert finished == {k: Path(f"cut/{k}/run.json").stat().st_mtime_ns for k in finished}
    assert not list(Path("cut").rglob("*.tmp"))
    assert not Path("cut/1/wandb").exists()
    for run in find("cut").runs:
        (run.path / ".hydra/overrides.yaml").write_text("")
        (find("whole").runs[int(run.name)].path / ".hydra/overrides.yaml").write_text("")
        config = run.path / ".hydra/config.yaml"
        config.write_text(config.read_text().replace("resume: true", "resume: false"))
    assert_same("whole", "cut", logs=False)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_runs_of_another_sweep_are_named(launcher, capsys):
    by = ["sweep.resume=true", f"hydra/launcher={launcher}", "hydra.sweep.subdir=${hydra.job.num}"]
    assert sweep("s", "seed=0,1,2,3,4,5,6", *by) == 0
    assert "another sweep" not in capsys.readouterr().out
    assert sweep("s", "seed=0,1", *by) == 0
    line = "s also holds 5 runs of another sweep: 2, 3, 4 and 2 others"
    assert capsys.readouterr().out.splitlines()[-2] == line


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_finished_run_of_another_configuration_is_not_replaced(launcher, capsys):
    resume = ["sweep.resume=true", f"hydra/launcher={launcher}"]
    assert sweep("s", "seed=0,1,2,3") == 0
    assert sweep("s", "seed=0,1,2,4", *resume) == 1
    out = capsys.readouterr().out
    assert "3 runs: 3 too_early; 1 failed\n  s/3: " in out
    assert "already holds a run" in out
    assert [run.config["seed"] for run in find("s").runs] == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_killed_by_sigkill_resumes(workers):
    swept = ["seed=0,1,2,3", "model.depth=1,2", "train.steps=3000"]
    swept += [f"hydra.launcher.workers={workers}"]
    command = [sys.executable, "-m", "gradlab", "run", "-m", *SHORT, *swept]
    with subprocess.Popen(
        [*command, "hydra.sweep.dir=cut"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while not list(Path("cut").glob("*/run.json")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.stderr.read()  # ends when every worker has closed it
    runs, damaged = find("cut")
    assert runs
    assert not damaged
    assert "running" in {run.info["status"] for run in runs}
    for run in runs:
        assert run.steps()["step"].tolist() == list(range(len(run.steps())))
        assert len(run.layers()) % (run.config["model.depth"] + 1) == 0
    assert sweep("cut", *swept, "train.steps=3", "sweep.resume=true") == 0
    assert [len(run.steps()) for run in find("cut").runs] == [3] * 8


def test_resume_is_not_in_the_configuration_of_a_run():
    assert sweep("s", "seed=0", "sweep.resume=true") == 0
    (run,) = find("s").runs
    assert "sweep.resume" not in run.config
    assert sweep("s", "seed=0", "sweep.resume=yes please") == 2
