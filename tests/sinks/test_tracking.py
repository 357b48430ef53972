"""`gradlab run tracking=...` selects any set of sinks, also in sweeps and also a user's class."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from gradlab.cli.main import main
from gradlab.config import choices
from gradlab.results.load import find

SHORT = ["model.depth=2", "model.width=8", "train.steps=4", "record.every=2"]


@pytest.fixture(autouse=True)
def _run_in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gradlab"])
    monkeypatch.syspath_prepend(tmp_path)


def run(*arguments: str) -> int:
    return main(["run", *arguments, *SHORT])


def services(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()} & {"wandb", "tensorboard"}


def composed(capsys, *arguments: str) -> dict:
    assert run("--cfg", "job", *arguments) == 0
    return yaml.safe_load(capsys.readouterr().out)["tracking"]


def test_wandb_in_offline_mode_is_the_default(capsys):
    assert list(composed(capsys)) == ["wandb"]
    assert composed(capsys)["wandb"]["mode"] == "offline"


def test_tracking_offline_and_online_set_the_mode_of_wandb(capsys):
    assert composed(capsys, "tracking=wandb") == composed(capsys, "tracking=offline")
    online = composed(capsys, "tracking=online", "tracking.wandb.tags=[a]")
    assert online["wandb"]["mode"] == "online"
    assert online["wandb"]["tags"] == ["a"]


def test_a_list_of_sinks_in_a_fused_sweep():
    pytest.importorskip("tensorboard")
    sets = "tracking=none,wandb,[wandb,tensorboard],[online,tensorboard]"
    assert run("-m", sets, "seed=0,1", "hydra.sweep.dir=s") == 0
    expected = [set(), {"wandb"}, {"wandb", "tensorboard"}, {"wandb", "tensorboard"}]
    assert [services(f"s/{number}") for number in range(8)] == [
        each for each in expected for _ in "01"
    ]
    infos = [run.info for run in find("s").runs]
    assert [info["config"]["tracking"] for info in infos[::2]] == [
        "none",
        "wandb",
        "[wandb,tensorboard]",
        "[wandb,tensorboard]",
    ]
    assert {info["config_hash"] for info in infos[::2]} == {infos[0]["config_hash"]}


def test_tensorboard_has_the_numbers_of_the_parquet_files():
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run("tracking=tensorboard", "hydra.run.dir=r") == 0
    events = reader.EventAccumulator("r/tensorboard").Reload()
    (recorded,) = find("r").runs
    layers = recorded.layers()
    first = layers[(layers["position"] == 1) & (layers["axis"] == "depth")]
    logged = [event.value for event in events.Scalars("delta_norm/01_layers.0")]
    assert logged == pytest.approx(first["delta_norm"].tolist(), rel=1e-6)
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3]


def test_without_tensorboard_the_error_names_the_extra_to_install(capsys, monkeypatch):
    from gradlab.sinks import tensorboard

    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    assert run("tracking=tensorboard", "hydra.run.dir=r") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("TensorBoard is not installed: pip install tensorboard")
    assert not Path("r/run.json").exists()


CSV_SINK = """
class CSV:
    def __init__(self, path, fail=False):
        self.path, self.fail = path, fail

    def open(self, run):
        self.file = open(run.folder / self.path, "w")

    def write(self, rows):
        if self.fail:
            self.file.close()
            raise OSError("disk full")
        for step, loss in zip(rows.steps["step"], rows.steps["loss"]):
            print(step, loss, sep=",", file=self.file)

    def finish(self, result):
        print(result["verdict"], file=self.file)
        self.file.close()
"""


def write_sink(name: str, content: str, **section: object) -> None:
    Path(f"{name}_module.py").write_text(content)
    Path("mine/tracking").mkdir(parents=True)
    section = {"_target_": f"{name}_module.CSV", **section}
    Path(f"mine/tracking/{name}.yaml").write_text(yaml.safe_dump({name: section}))


def test_a_class_of_the_user_is_a_sink():
    write_sink("csv", CSV_SINK, path="loss.csv", fail=False)
    assert run("--config-dir", "mine", "tracking=[csv,wandb]", "hydra.run.dir=r") == 0
    lines = Path("r/loss.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0", "1", "2", "3", "too_early"]
    assert services("r") == {"wandb"}


def test_the_run_and_other_sinks_continue_after_a_sink_fails(capsys):
    write_sink("failing", CSV_SINK, path="loss.csv", fail=True)
    assert run("--config-dir", "mine", "tracking=[failing,wandb]", "hydra.run.dir=r") == 0
    assert "CSV failed, the run continues without it: OSError: disk full" in capsys.readouterr().out
    assert json.loads(Path("r/run.json").read_text())["status"] == "completed"
    assert services("r") == {"wandb"}


def test_a_class_without_the_methods_of_a_sink_is_refused(capsys):
    write_sink("nothing", "class CSV: pass\n")
    assert run("--config-dir", "mine", "tracking=nothing", "hydra.run.dir=r") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "expected a sink with open, write and finish, but" in line
    assert "has no open" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tracking=tensorbord"], "tracking=tensorbord is not a choice; did you mean tensorboard?"),
        (["tracking=[wandb,tensorbord]"], "tensorbord is not a choice; did you mean tensorboard?"),
        (["tracking=null"], f"tracking=null: choose from {', '.join(choices.names('tracking'))}"),
        (["tracking.project=x"], "did you mean tracking.wandb.project?"),
        (["tracking.wandb.mode=onlin"], "did you mean online?"),
        (["tracking.wandb.prefix=a b"], "prefix='a b': expected at most 60 letters"),
        (["+tracking.csv.path=x"], "tracking=csv is not a choice"),
        (["tracking.wandb._target_=os.system"], "expected gradlab.sinks.WandB"),
        (["+tracking.wandb.colour=red"], "tracking.wandb.colour is not a key"),
    ],
)
def test_an_error_is_one_line_and_suggests_the_nearest_name(capsys, arguments, message):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
