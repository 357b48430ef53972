"""`gradlab cure`: the remedies that it trains, the files that it writes, and its errors."""

import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

from gradlab.cli.main import main
from gradlab.results.load import find

DEEP = ["model.depth=20", "model.width=24", "model.activation=sigmoid", "train.steps=25"]
QUICK = ["cure.seeds=1", "cure.steps=4"]


@pytest.fixture(scope="module")
def vanishing_run(tmp_path_factory):
    """Train a run with a vanishing gradient. Tests must copy it, not change it."""
    folder = tmp_path_factory.mktemp("vanishing") / "run"
    before = sys.argv
    try:
        assert main(["run", *DEEP, "tracking=none", f"hydra.run.dir={folder}"]) == 0
    finally:
        sys.argv = before
    return folder


@pytest.fixture
def run(vanishing_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gradlab"])
    shutil.copytree(vanishing_run, "run")
    return Path("run")


def gradlab(*arguments):
    return main(list(map(str, arguments)))


def one_line(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_remedy_works_and_its_command_trains_a_healthy_network(run, capsys):
    assert gradlab("cure", run, "cure.seeds=2") == 0
    printed = capsys.readouterr()
    assert "the best is model" in printed.out
    assert "stack 1 of" in printed.err
    table = pd.read_csv("run/cure/remedies.csv")
    assert table["remedy"][0] == "unchanged"
    assert table["findings"][0] == "vanishing 2/2"
    best = table.iloc[1]
    assert best["verdict"] == "works"
    assert best["loss"] < table["loss"][0]
    assert {"model.norm=batch", "model=resmlp", "model.init=lsuv"} <= {*table["remedy"]}
    assert best["command"] in printed.out
    page = Path("run/cure/index.html").read_text()
    assert best["command"] in page
    for name in ("signal", "loss"):
        assert f'id="{name}"' in page
        assert Path(f"run/cure/figures/{name}.png").stat().st_size > 1000
        assert Path(f"run/cure/figures/{name}.svg").exists()
    pasted = shlex.split(best["command"])
    assert gradlab(*pasted[1:], "hydra.run.dir=remedied") == 0
    info = json.loads(Path("remedied/run.json").read_text())
    assert info["verdict"] == "healthy"
    assert len(find("run").runs) == 1  # the page is not a run


def test_pairs_are_tried_if_no_single_remedy_works(run, capsys):
    assert gradlab("cure", run, *QUICK) == 0
    printed = capsys.readouterr()
    assert "6 pairs of the best were tried too" in printed.out
    table = pd.read_csv("run/cure/remedies.csv")
    assert table["pair"].sum() == 6
    assert "pairs of the best" in printed.err


def test_without_a_helpful_remedy_no_command_is_printed(run, capsys):
    assert gradlab("cure", run, *QUICK, "cure.remedies=['optim.lr=0.05']") == 0
    printed = capsys.readouterr()
    assert "vanishing: none of 1 remedy helps" in printed.out
    assert "No better: optim.lr=0.05." in printed.out
    assert "gradlab run" not in printed.out
    assert ">Command<" not in Path("run/cure/index.html").read_text()


def test_a_remedy_may_be_several_overrides(run, capsys):
    both = "cure.remedies=['model.activation=relu model.init=kaiming_normal']"
    assert gradlab("cure", run, "cure.seeds=1", both, "cure.dir=page") == 0
    table = pd.read_csv("page/remedies.csv")
    assert table["findings"][0] == "vanishing 1/1"
    assert "vanishing" not in table["findings"][1]
    assert "model.activation=relu model.init=kaiming_normal" in table["command"][1]
    assert not Path("run/cure").exists()


def test_a_remedy_that_cannot_be_trained_does_not_affect_the_others(run, capsys, monkeypatch):
    from gradlab.models import init

    def broken(*arguments, **keywords):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(init, "lsuv", broken)
    remedies = "cure.remedies=['model.init=lsuv','model.init=normal']"
    assert gradlab("cure", run, *QUICK, remedies) == 0
    assert "Could not be trained: model.init=lsuv (model.init=lsuv," in capsys.readouterr().out
    table = pd.read_csv("run/cure/remedies.csv").set_index("remedy")
    assert "no such thing" in table["error"]["model.init=lsuv"]
    assert table["verdict"]["model.init=normal"] != "failed"


def test_overrides_apply_to_every_rerun(run, capsys):
    overrides = ["model.depth=2", "cure.remedies=['clip=norm']"]
    assert gradlab("cure", run, *QUICK, *overrides) == 0
    assert "Trained again with 1 seed, the run is healthy" in capsys.readouterr().out
    table = pd.read_csv("run/cure/remedies.csv")
    assert all("model.depth=2" in line for line in table["command"])


@pytest.mark.parametrize(
    ("steps", "text"),
    [(60, "h is healthy: no remedy is needed"), (4, "h has no finding, but its steps are too few")],
)
def test_a_run_without_a_finding_needs_no_remedy(run, capsys, steps, text):
    words = ["model.depth=2", f"train.steps={steps}", "tracking=none", "hydra.run.dir=h"]
    assert gradlab("run", *words) == 0
    capsys.readouterr()
    assert gradlab("cure", "h") == 0
    assert capsys.readouterr().out.startswith(text)
    assert not Path("h/cure").exists()


def test_a_run_of_a_sweep_with_an_experiment_and_user_choices(run, capsys):
    file = Path("choices/model/activation/soft.yaml")
    file.parent.mkdir(parents=True)
    file.write_text("name: soft\n_target_: torch.nn.Sigmoid\n")
    swept = ["-m", "-cd", "choices", "+experiment=sigmoid_ten_layers", "model.activation=soft"]
    rest = ["model.init=default", "seed=3,4", "model.depth=12", "train.steps=4", "tracking=none"]
    assert gradlab("run", *swept, *rest, "hydra.sweep.dir=s") == 0
    capsys.readouterr()
    options = ["cure.seeds=1", "cure.remedies=['model.init=lsuv']"]
    assert gradlab("cure", "s/1", *options) == 2  # nothing that the folder names is executed
    assert "if they are yours, add the folder: -cd DIR" in capsys.readouterr().err
    assert gradlab("cure", "s/1", *options, "-cd", "choices") == 0
    printed = capsys.readouterr().out
    command = pd.read_csv("s/1/cure/remedies.csv")["command"][1]
    assert "+experiment=sigmoid_ten_layers" in command
    assert "model.init=default" not in command
    assert "unchanged" in printed
    pasted = shlex.split(command)
    assert gradlab(*pasted[1:], "hydra.run.dir=again") == 0
    config = find("again").runs[0].config
    assert (config["seed"], config["model.init"], config["model.depth"]) == (4, "lsuv", 12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "expected the folder of a run: gradlab cure RUN"),
        (["missing"], "missing is not a folder"),
        (["run", "cure.sedes=2"], "cure.sedes is not a key; did you mean cure.seeds?"),
        (["run", "cure.seeds=0"], "cure.seeds=0: expected a whole number of at least 1"),
        (["run", "cure.steps=few"], "cure.steps=few: expected a whole number of at least 1"),
        (["run", "cure.remedies=adam"], "cure.remedies=adam: expected a list of overrides"),
        (["run", "cure.remedies=['adam']"], "expected a list of overrides in quotes, or null"),
        (["run", "cure.remedies=['optim=adm']"], "optim=adm is not a choice; did you mean adam?"),
        (["run", "cure.remedies=['optin=adam']"], "optin is not a key; did you mean optim?"),
        (["run", "cure.remedies=['optim.lr=-1']"], "optim.lr=-1: expected a number above 0"),
        (
            ["run", "cure.remedies=['loss=mse']"],
            "loss=mse changes the data or the loss: expected the run's",
        ),
        (["run", "modl.depth=3"], "did you mean model.depth?"),
        (["run", "cure.dir=/dev/null/x"], "/dev/null/x cannot be written: File exists; choose"),
        (["run", "--fast"], "--fast is not a flag"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line(run, arguments, text, capsys):
    assert gradlab("cure", *arguments) == 2
    assert text in one_line(capsys)


def test_a_sweep_is_refused_with_the_run_of_the_most_severe_findings(run, capsys):
    short = ["model.width=8", "train.steps=3", "tracking=none", "hydra.sweep.dir=s"]
    assert gradlab("run", "-m", *short, "model.activation=sigmoid", "model.depth=2,9,30") == 0
    capsys.readouterr()
    assert gradlab("cure", "s") == 2
    assert one_line(capsys).endswith(
        "but s holds 3; for the run with the most severe findings: gradlab cure s/2"
    )


def test_a_folder_that_cannot_be_written_is_reported_with_a_fix(run, capsys):
    Path("run/cure").touch()
    assert gradlab("cure", run) == 2
    line = one_line(capsys)
    assert "run/cure cannot be written" in line
    assert "cure.dir=" in line


@pytest.mark.parametrize("file", ["overrides.yaml", "hydra.yaml"])
def test_a_missing_or_damaged_file_of_hydra_is_named(run, file, capsys):
    Path("run/.hydra", file).unlink()
    assert gradlab("cure", run) == 2
    assert f"run/.hydra/{file} is missing" in one_line(capsys)
    Path("run/.hydra", file).write_text("a: [")
    assert gradlab("cure", run) == 2
    assert f"run/.hydra/{file} is damaged" in one_line(capsys)
    Path("run/.hydra", file).write_text("3")
    assert gradlab("cure", run) == 2
    assert f"run/.hydra/{file} is damaged" in one_line(capsys)


def test_a_run_whose_overrides_give_another_configuration_is_refused(run, capsys):
    overrides = Path("run/.hydra/overrides.yaml")
    overrides.write_text(overrides.read_text().replace("model.depth=20", "model.depth=21"))
    assert gradlab("cure", run) == 2
    assert "ran with model.depth=20, but its overrides now lead to model.depth=21" in one_line(
        capsys
    )


def test_a_damaged_file_is_named(run, capsys):
    Path("run/layers.parquet").write_bytes(b"PAR1")
    assert gradlab("cure", run) == 2
    assert "run/layers.parquet is damaged" in one_line(capsys)


def test_an_interrupt_writes_the_page_of_the_finished_reruns(run, capsys, monkeypatch):
    from gradlab.cure import comparison

    train, calls = comparison.train, []

    def interrupted(stack, stop):
        calls.append(stack)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return train(stack, stop)

    monkeypatch.setattr(comparison, "train", interrupted)
    assert gradlab("cure", run, *QUICK) == 130
    printed = capsys.readouterr()
    assert len(calls) == 3
    assert "Interrupted before" in printed.out
    assert printed.err.endswith("gradlab: interrupted; all recorded rows are saved\n")
    assert len(pd.read_csv("run/cure/remedies.csv")) > 2


def test_an_interrupt_before_the_first_rerun_writes_no_page(run, capsys, monkeypatch):
    from gradlab.cure import comparison

    def interrupted(candidates):
        os.kill(os.getpid(), signal.SIGTERM)
        return [candidates]

    monkeypatch.setattr(comparison, "group_by_stack", interrupted)
    assert gradlab("cure", run, *QUICK) == 143
    assert not capsys.readouterr().out
    assert not Path("run/cure/index.html").exists()


def test_help_shows_the_usage(capsys):
    assert main(["cure", "--help"]) == 0
    assert "gradlab cure RUN [overrides]" in capsys.readouterr().out


def test_an_interrupted_run_is_repeated_for_the_steps_that_it_made(run, capsys):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "status": "interrupted"}))
    steps = pd.read_parquet(run / "steps.parquet").iloc[:7]
    steps.astype({"step": "int32"}).to_parquet(run / "steps.parquet")
    assert gradlab("cure", run, "cure.seeds=1", "cure.remedies=['optim=adam']") == 0
    assert "trained for 7 steps" in capsys.readouterr().out


def test_the_page_states_the_value_from_theory(run):
    assert gradlab("cure", run, *QUICK, "cure.remedies=['optim=adam']") == 0
    assert "in the limit of a deep, wide network" in Path("run/cure/index.html").read_text()
