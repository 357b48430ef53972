"""A fused sweep writes the same files as separate jobs, also when some jobs fail."""

import itertools
import os
import signal
from pathlib import Path

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig

from gradlab.results.load import find
from gradlab.runs import members
from gradlab.runs import sweep as sweeps
from gradlab.runs.fused import launch
from gradlab.training.loop import Loop
from tests.runs.fused.sweeps import assert_same, info, rounding, sweep

BASIC = "hydra/launcher=basic"
MIXED = [
    "model.depth=1,3",
    "optim.lr=0.1,0.3",
    "model.init=default,lsuv",
    "clip=none,adaptive",
    "loss.scale=1.0,1e-3",
    "seed=0",
    "train.dtype=float64",
    "train.steps=6",
]


def record_stack_sizes(monkeypatch) -> list[int]:
    """Return a list that receives the size of every stack that is trained."""
    stack_sizes: list[int] = []
    original = members.train

    def train(runs, *arguments):
        stack_sizes.append(len(runs))
        original(runs, *arguments)

    monkeypatch.setattr(members, "train", train)
    return stack_sizes


def test_a_fused_sweep_equals_its_jobs_run_one_by_one(capsys, monkeypatch):
    stack_sizes = record_stack_sizes(monkeypatch)
    assert sweep("together", *MIXED) == 0
    fused_out = capsys.readouterr().out
    assert stack_sizes == [16, 16]
    assert sweep("separate", BASIC, *MIXED) == 0
    assert_same("together", "separate")
    outs = fused_out, capsys.readouterr().out
    lines = [[line.split("] ")[-1] for line in out.splitlines()[1:]] for out in outs]
    assert [line.replace("together", "separate") for line in lines[0]] == lines[1]
    files = [Path(f"{name}/7/.hydra/hydra.yaml") for name in ("together", "separate")]
    hydras = [yaml.safe_load(file.read_text()) for file in files]
    for each in hydras:
        each["hydra"].pop("launcher")
        each["hydra"]["overrides"].pop("hydra")
        each["hydra"]["runtime"]["choices"].pop("hydra/launcher")
    assert str(hydras[0]).replace("together", "separate") == str(hydras[1])


def test_fused_and_basic_differ_by_rounding_in_float32(capsys):
    swept = ["model.init=default,orthogonal", "seed=0,1", "train.steps=9"]
    assert sweep("fused", *swept) == sweep("basic", BASIC, *swept) == 0
    assert_same("fused", "basic", rounding, rtol=1e-5, logs=False)


def test_batches_of_a_sweeper_have_consecutive_job_numbers(monkeypatch):
    stack_sizes, before = record_stack_sizes(monkeypatch), HydraConfig.instance().cfg
    returned = []
    original = launch.launch
    monkeypatch.setattr(
        launch, "launch", lambda *arguments: returned.extend(done := original(*arguments)) or done
    )
    assert sweep("s", "seed=range(9)", "hydra.sweeper.max_batch_size=5") == 0
    assert stack_sizes == [5, 4]
    assert [each.hydra_cfg.hydra.job.num for each in returned] == list(range(9))
    assert [each.overrides[-1] for each in returned] == [f"seed={k}" for k in range(9)]
    for number, each in enumerate(returned):
        assert each.return_value == info(f"s/{number}")["test"]["loss"]
        assert each.cfg.seed == number
        assert each.hydra_cfg.hydra.runtime.output_dir == str(Path(f"s/{number}").absolute())
    assert HydraConfig.instance().cfg is before


def test_interpolations_between_the_configuration_and_hydras_section_are_resolved(capsys):
    assert sweep("s", "seed=1,2,3,4", "hydra.sweep.subdir=d${model.depth}s${seed}") == 0
    assert [run.name for run in find("s").runs] == ["d2s1", "d2s2", "d2s3", "d2s4"]
    assert sweep("t", "seed=${hydra:job.num},7,8,9", "clip=norm,value") == 0
    assert [run.config["seed"] for run in find("t").runs] == [0, 1, 7, 7, 8, 8, 9, 9]


def test_jobs_may_have_equal_overrides(capsys):
    assert sweep("s", "seed=0,0,1,0") == 0
    runs = find("s").runs
    assert [run.config["seed"] for run in runs] == [0, 0, 1, 0]
    assert [run.name for run in runs] == ["0", "1", "2", "3"]


def test_jobs_that_change_the_working_directory_run_one_by_one(capsys):
    assert sweep("s", "seed=0,1,2,3", "hydra.job.chdir=true") == 0
    assert "4 runs: 4 too_early" in capsys.readouterr().out


def test_failed_jobs_do_not_affect_the_others(capsys, monkeypatch):
    stack_sizes = record_stack_sizes(monkeypatch)
    Path("s/1").mkdir(parents=True)
    Path("s/1/run.json").write_text("{}")
    Path("s/2").touch()
    swept = ["seed=0,1", "model.init_gain=null,2.0", "model.init=orthogonal,zeros,default"]
    assert sweep("s", *swept) == 1
    out = capsys.readouterr().out
    assert "8 runs: " in out
    assert "; 4 failed" in out
    for number, text in [(1, "already holds"), (2, "cannot be written"), (4, "has no gain")]:
        assert f"  s/{number}: " in out
        assert text in next(line for line in out.splitlines() if f"  s/{number}: " in line)
    assert "failed: " in Path("s/4/gradlab.log").read_text()
    printed = [line.split("#")[1].split()[0] for line in out.splitlines() if "\t#" in line]
    assert printed == [str(number) for number in range(12)]
    assert len(stack_sizes) == 1


def test_a_full_disk_of_one_member_fails_only_that_member(capsys, monkeypatch):
    from gradlab.sinks.run_folder import Parquet

    write = Parquet.write

    def full(self, rows):
        if self.path.name == "2" and rows.steps["step"][-1].as_py() > 1:
            raise OSError(28, "No space left on device")
        write(self, rows)

    monkeypatch.setattr(Parquet, "write", full)
    assert sweep("s", "seed=0,1,2,3") == 1
    out = capsys.readouterr().out
    assert "3 runs: 3 too_early; 1 failed\n  s/2: OSError: [Errno 28] No space left" in out
    assert [run.info["status"] for run in find("s").runs] == [
        *["completed"] * 2,
        "failed",
        "completed",
    ]
    assert Path("s/2/traceback.txt").exists()


def test_a_member_that_diverges_does_not_stop_the_others():
    assert sweep("s", "model.init=normal", "model.init_gain=1e30,1.0,2.0,3.0") == 0
    assert [r.info["status"] for r in find("s").runs] == ["diverged", *["completed"] * 3]


@pytest.mark.parametrize("at", [1, 3])
def test_an_error_of_a_stack_makes_its_members_run_one_by_one(capsys, monkeypatch, at):
    """The error may come before the first step or later."""
    original, stack_sizes = Loop.step, record_stack_sizes(monkeypatch)

    def step(self, step, recorded):
        if self.stack.size > 1 and step >= at:
            raise RuntimeError("out of memory")
        return original(self, step, recorded)

    monkeypatch.setattr(Loop, "step", step)
    assert sweep("s", "seed=0,1,2,3") == 0
    assert stack_sizes == [4, 1, 1, 1, 1]


def test_code_that_vmap_rejects_runs_one_by_one(capsys, monkeypatch):
    stack_sizes = record_stack_sizes(monkeypatch)
    assert sweep("s", "seed=0,1,2,3", "model.activation=tests.runs.fused.sweeps.Branching") == 0
    assert stack_sizes == [4, 1, 1, 1, 1]
    assert "4 networks are trained one by one" in capsys.readouterr().out


def interrupt(monkeypatch, owner, name: str, call: int, number: signal.Signals) -> None:
    """Send this process a signal before a given call of a function.

    Args:
        monkeypatch: pytest's fixture.
        owner: the module or class of the function.
        name: the function's name.
        call: which call, from 1.
        number: the signal.
    """
    original, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*arguments, **keywords):
        if next(calls) == call:
            os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_completes_the_files_of_all_members(capsys, monkeypatch, number, code):
    interrupt(monkeypatch, Loop, "step", 6, number)
    assert sweep("s", "seed=0,1,2,3", "model.depth=1,2,3") == code
    printed = capsys.readouterr()
    assert "4 runs: 4 too_early; 0 failed; 4 interrupted; 4 did not start" in printed.out
    assert printed.err == "gradlab: interrupted; all recorded rows are saved\n"
    statuses = [run.info["status"] for run in find("s").runs]
    assert sorted(statuses) == ["completed"] * 4 + ["interrupted"] * 4
    for run in find("s").runs:
        assert run.info["steps"] == len(run.steps())
        interrupted = run.info["status"] == "interrupted"
        assert ("interrupted" in (run.path / "gradlab.log").read_text()) == interrupted


def test_a_signal_during_loading_of_the_data_interrupts_the_stack(capsys, monkeypatch):

    from gradlab.runs import run

    interrupt(monkeypatch, run, "load", 2, signal.SIGINT)
    assert sweep("s", "seed=0,1,2,3", "model.depth=1,2") == 130
    assert "4 runs: 4 too_early; 0 failed; 4 interrupted" in capsys.readouterr().out


def test_each_job_has_a_wandb_run():
    assert sweep("s", "seed=0,1,2,3", "tracking=offline") == 0
    for number in range(4):
        assert len(list(Path(f"s/{number}/wandb").glob("offline-run-*/*.wandb"))) == 1


def test_planned_jobs_are_counted_before_the_sweep(monkeypatch):
    counts = []
    monkeypatch.setattr(
        sweeps.JobOutcomes, "summary", lambda self: counts.append(self.planned) or []
    )
    assert sweep("s", "seed=0,1", "clip=none,norm,value") == 0
    assert counts == [6]
