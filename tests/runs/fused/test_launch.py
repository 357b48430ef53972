"""A sweep in stacks leaves what its jobs leave one by one, whatever happens to some of them."""

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


def sizes(monkeypatch) -> list[int]:
    """How many are trained together, each time."""
    seen: list[int] = []
    original = members.train

    def train(runs, *arguments):
        seen.append(len(runs))
        original(runs, *arguments)

    monkeypatch.setattr(members, "train", train)
    return seen


def test_a_mixed_sweep_is_the_same_as_its_jobs_alone(capsys, monkeypatch):
    seen = sizes(monkeypatch)
    assert sweep("together", *MIXED) == 0
    told = capsys.readouterr().out
    assert seen == [16, 16]
    assert sweep("apart", BASIC, *MIXED) == 0
    assert_same("together", "apart")
    lines = [[line.split("] ")[-1] for line in out.splitlines()[1:]] for out in _outs(capsys, told)]
    assert [line.replace("together", "apart") for line in lines[0]] == lines[1]
    hydras = [yaml.safe_load(Path(f"{d}/7/.hydra/hydra.yaml").read_text()) for d in _names()]
    for each in hydras:
        each["hydra"].pop("launcher")
        each["hydra"]["overrides"].pop("hydra")
        each["hydra"]["runtime"]["choices"].pop("hydra/launcher")
    assert str(hydras[0]).replace("together", "apart") == str(hydras[1])


def _outs(capsys, told):
    return told, capsys.readouterr().out


def _names():
    return "together", "apart"


def test_in_float32_they_differ_by_rounding(capsys):
    swept = ["model.init=default,orthogonal", "seed=0,1", "train.steps=9"]
    assert sweep("fused", *swept) == sweep("basic", BASIC, *swept) == 0
    assert_same("fused", "basic", rounding, rtol=1e-5, logs=False)


def test_a_sweepers_batches_and_their_numbers(monkeypatch):
    seen, before = sizes(monkeypatch), HydraConfig.instance().cfg
    returned = []
    original = launch.launch
    monkeypatch.setattr(
        launch, "launch", lambda *given: returned.extend(done := original(*given)) or done
    )
    assert sweep("s", "seed=range(9)", "hydra.sweeper.max_batch_size=5") == 0
    assert seen == [5, 4]
    assert [each.hydra_cfg.hydra.job.num for each in returned] == list(range(9))
    assert [each.overrides[-1] for each in returned] == [f"seed={k}" for k in range(9)]
    for number, each in enumerate(returned):
        assert each.return_value == info(f"s/{number}")["test"]["loss"]
        assert each.cfg.seed == number
        assert each.hydra_cfg.hydra.runtime.output_dir == str(Path(f"s/{number}").absolute())
    assert HydraConfig.instance().cfg is before


def test_interpolations_between_hydras_section_and_the_jobs(capsys):
    assert sweep("s", "seed=1,2,3,4", "hydra.sweep.subdir=d${model.depth}s${seed}") == 0
    assert [run.name for run in find("s").runs] == ["d2s1", "d2s2", "d2s3", "d2s4"]
    assert sweep("t", "seed=${hydra:job.num},7,8,9", "clip=norm,value") == 0
    assert [run.config["seed"] for run in find("t").runs] == [0, 1, 7, 7, 8, 8, 9, 9]


def test_two_jobs_may_be_the_same(capsys):
    assert sweep("s", "seed=0,0,1,0") == 0
    runs = find("s").runs
    assert [run.config["seed"] for run in runs] == [0, 0, 1, 0]
    assert [run.name for run in runs] == ["0", "1", "2", "3"]


def test_jobs_that_want_the_process_for_themselves_run_one_by_one(capsys):
    assert sweep("s", "seed=0,1,2,3", "hydra.job.chdir=true") == 0
    assert "4 runs: 4 healthy" in capsys.readouterr().out


def test_failures_of_some_harm_no_other(capsys, monkeypatch):
    seen = sizes(monkeypatch)
    Path("s/1").mkdir(parents=True)
    Path("s/1/run.json").write_text("{}")
    Path("s/2").touch()
    swept = ["seed=0,1", "model.init_gain=null,2.0", "model.init=orthogonal,zeros,default"]
    assert sweep("s", *swept) == 1
    out = capsys.readouterr().out
    assert "8 runs: " in out
    assert "; 4 failed" in out
    for number, words in [(1, "already holds"), (2, "cannot be written"), (4, "has no gain")]:
        assert f"  s/{number}: " in out
        assert words in next(line for line in out.splitlines() if f"  s/{number}: " in line)
    assert "failed: " in Path("s/4/gradlab.log").read_text()
    told = [line.split("#")[1].split()[0] for line in out.splitlines() if "\t#" in line]
    assert told == [str(number) for number in range(12)]
    assert len(seen) == 1


def test_a_member_that_cannot_be_written_to_fails_alone(capsys, monkeypatch):
    from gradlab.sinks.run_folder import Parquet

    write = Parquet.write

    def full(self, rows):
        if self.path.name == "2" and rows.steps["step"][-1] > 1:
            raise OSError(28, "No space left on device")
        write(self, rows)

    monkeypatch.setattr(Parquet, "write", full)
    assert sweep("s", "seed=0,1,2,3") == 1
    out = capsys.readouterr().out
    assert "3 runs: 3 healthy; 1 failed\n  s/2: OSError: [Errno 28] No space left" in out
    assert [run.info["status"] for run in find("s").runs] == [
        *["completed"] * 2,
        "failed",
        "completed",
    ]
    assert Path("s/2/traceback.txt").exists()


def test_a_member_that_diverges_stops_alone():
    assert sweep("s", "model.init=normal", "model.init_gain=1e30,1.0,2.0,3.0") == 0
    assert [r.info["status"] for r in find("s").runs] == ["diverged", *["completed"] * 3]


@pytest.mark.parametrize("at", [1, 3])
def test_what_does_not_go_together_goes_one_by_one(capsys, monkeypatch, at):
    """Before the first step or later, whatever the members share breaks: each runs alone."""
    original, seen = Loop.step, sizes(monkeypatch)

    def step(self, step, recorded):
        if self.stack.size > 1 and step >= at:
            raise RuntimeError("out of memory")
        return original(self, step, recorded)

    monkeypatch.setattr(Loop, "step", step)
    assert sweep("s", "seed=0,1,2,3") == 0
    assert seen == [4, 1, 1, 1, 1]


def test_code_that_cannot_be_stacked_runs_alone(capsys, monkeypatch):
    seen = sizes(monkeypatch)
    assert sweep("s", "seed=0,1,2,3", "model.activation=tests.runs.fused.sweeps.Branching") == 0
    assert seen == [4, 1, 1, 1, 1]
    assert "4 networks are trained one by one" in capsys.readouterr().out


def interrupt(monkeypatch, owner, name: str, call: int, ask: signal.Signals) -> None:
    original, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*arguments, **keywords):
        if next(calls) == call:
            os.kill(os.getpid(), ask)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(("ask", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_completes_the_files_of_all_members(capsys, monkeypatch, ask, code):
    interrupt(monkeypatch, Loop, "step", 6, ask)
    assert sweep("s", "seed=0,1,2,3", "model.depth=1,2,3") == code
    printed = capsys.readouterr()
    assert "4 runs: 4 healthy; 0 failed; 4 interrupted; 4 did not start" in printed.out
    assert printed.err == "gradlab: interrupted; what was recorded is complete\n"
    found = {run.name: run.info["status"] for run in find("s").runs}
    assert sorted(found.values()) == ["completed"] * 4 + ["interrupted"] * 4
    for run in find("s").runs:
        assert run.info["steps"] == len(run.steps())
        interrupted = run.info["status"] == "interrupted"
        assert ("interrupted" in (run.path / "gradlab.log").read_text()) == interrupted


def test_a_signal_while_the_data_are_loaded(capsys, monkeypatch):

    from gradlab.runs import run

    interrupt(monkeypatch, run, "load", 2, signal.SIGINT)
    assert sweep("s", "seed=0,1,2,3", "model.depth=1,2") == 130
    assert "4 runs: 4 healthy; 0 failed; 4 interrupted" in capsys.readouterr().out


def test_wandb_has_a_run_for_each():
    assert sweep("s", "seed=0,1,2,3", "tracking=offline") == 0
    for number in range(4):
        assert len(list(Path(f"s/{number}/wandb").glob("offline-run-*/*.wandb"))) == 1


def test_jobs_are_counted_where_the_launcher_is_known(monkeypatch):
    counts = []
    monkeypatch.setattr(sweeps.Tally, "summary", lambda self: counts.append(self.planned) or [])
    assert sweep("s", "seed=0,1", "clip=none,norm,value") == 0
    assert counts == [6]
