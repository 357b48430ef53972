"""Plugins of other projects: a sweeper that plans in batches, a launcher with processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gradlab.errors import JobError
from gradlab.results.load import find
from gradlab.results.parquet import write_json
from gradlab.runs.sweep import JobOutcome, JobOutcomes, complete_unfinished
from tests.report.runs import write_run
from tests.runs.fused.sweeps import SHORT, info


def gradlab(*overrides: str) -> str:
    """Run a sweep in a separate process, without warnings; return its output."""
    command = [sys.executable, "-W", "ignore", "-m", "gradlab", "run", "-m", *SHORT, *overrides]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_optuna_receives_the_test_loss_of_each_job():
    options = [
        "hydra.sweeper.n_trials=12",
        "hydra.sweeper.n_jobs=6",
        "hydra.sweeper.sampler.seed=1",
    ]
    swept = ["optim.lr=interval(0.01,1.0)", "model.init=choice(default,orthogonal)"]
    out = gradlab("hydra/sweeper=optuna", *options, *swept, "hydra.launcher.workers=2",
                  "hydra.sweep.dir=s")  # fmt: skip
    assert "12 runs: " in out
    assert "Launching 6 jobs locally, 6 at most in a stack" in out
    with open("s/optimization_results.yaml") as file:
        best = yaml.safe_load(file)
    losses = {run.info["test"]["loss"]: run for run in find("s").runs}
    assert best["best_value"] == min(losses)
    assert best["best_params"]["optim.lr"] == losses[min(losses)].config["optim.lr"]


def test_joblib_writes_the_same_results():
    swept = ["seed=0,1", "clip=none,norm", "train.dtype=float64"]
    gradlab("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *swept, "hydra.sweep.dir=j")
    gradlab(*swept, "hydra.sweep.dir=f")
    for number in range(4):
        one, other = info(f"j/{number}"), info(f"f/{number}")
        assert one["config_hash"] == other["config_hash"]
        assert one["test"]["loss"] == pytest.approx(other["test"]["loss"], rel=1e-9)


def test_joblib_counts_and_names_the_jobs_that_fail_as_basic_does():
    printed = {}
    for launcher in ("basic", "joblib"):
        words = ["seed=0,-1,1", f"hydra.sweep.dir={launcher}", f"hydra/launcher={launcher}"]
        command = [sys.executable, "-W", "ignore", "-m", "gradlab", "run", "-m", *SHORT, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        printed[launcher] = done.stdout.replace(launcher, "s").splitlines()[-3:]
    assert printed["joblib"] == printed["basic"]
    assert printed["basic"][0] == "2 runs: 2 too_early; 1 failed"
    assert printed["basic"][1].startswith("  s/1: seed=-1: expected a whole number")
    assert not Path("joblib/.gradlab-jobs").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_completes_the_runs_of_joblib(number, code):
    words = [
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "seed=0,1,2,3",
        "hydra.sweep.dir=s",
    ]
    command = [sys.executable, "-W", "ignore", "-m", "gradlab", "run", "-m", *words]
    long = ["tracking=none", "model.depth=2", "train.steps=1000000", "record.every=5"]
    with subprocess.Popen([*command, *long], stdout=subprocess.PIPE, text=True) as process:
        while not list(Path("s").glob("*/layers.parquet")):
            time.sleep(0.05)
        process.send_signal(number)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == code
    runs = find("s").runs
    assert {run.info["status"] for run in runs} == {"interrupted"}
    assert f"{len(runs)} interrupted" in lines[-2]
    assert not Path("s/.gradlab-jobs").exists()


def test_a_run_whose_process_was_killed_is_completed(tmp_path):
    started = {"0": "2026-01-01T00:00:09+00:00", "1": "2026-01-01T00:00:01+00:00"}
    for name, time_ in started.items():
        write_run(tmp_path / name)
        file = tmp_path / name / "run.json"
        info = json.loads(file.read_text())
        write_json(file, {**info, "status": "running", "timings": {"started": time_}})
    complete_unfinished(tmp_path, "2026-01-01T00:00:05+00:00", interrupted=False)
    own, other = find(tmp_path).runs
    assert (own.info["status"], own.info["error"]) == ("failed", "its process was killed")
    assert other.info["status"] == "running"  # of an earlier sweep


def test_a_job_that_did_not_end_is_no_success():
    ended, failed = JobOutcome(Path("0"), info={}), JobOutcome(Path("1"), error=JobError("x"))
    assert not JobOutcomes(planned=2, jobs=[ended, failed]).incomplete
    assert JobOutcomes(planned=2, jobs=[ended]).incomplete
    assert JobOutcomes(planned=None, jobs=[ended, JobOutcome(Path("1"))]).incomplete
