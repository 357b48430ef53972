"""The sink's W&B run contains the recorded numbers, and failures of W&B do not stop a run."""

import json
import logging
import math
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gradlab import schema
from gradlab.recording.rows import LAYERS, STEPS, Rows
from gradlab.sinks.protocol import RunInfo, Sinks
from gradlab.sinks.wandb import WandB, has_account, set_directories
from tests.configs import batch

CONFIG = {"model": "mlp", "model.depth": 3, "clip": "none", "seed": 7}


def tracking(folder: Path, mode: str = "offline", **kwargs) -> Sinks:
    """Return an opened sink whose exceptions become warnings, as in a run."""
    sink = WandB(project="gradlab", tags=["tried"], mode=mode, **kwargs)
    sinks = Sinks([sink], logging.getLogger("gradlab").warning)
    sinks.open(RunInfo(name="a run", group="sweep/1", folder=folder, config=CONFIG))
    return sinks


def rows(first: int, count: int, layers: int = 3) -> Rows:
    """Return steps first to first + count - 1, and a record of the layers at the last step."""
    steps = np.arange(first, first + count, dtype=np.int32)
    columns = {
        "step": steps,
        "loss": 1.0 / (1 + steps),
        "grad_norm": 10.0 + steps,
        "clip_factor": np.ones(count),
        "lr": np.full(count, 0.1),
        "seconds": steps * 0.01,
    }
    positions = np.arange(1, layers + 1, dtype=np.int32)
    record = {"step": np.full(layers, steps[-1]), "axis": ["depth"] * layers}
    record |= {"position": positions, "module": [f"layers.{p - 1}" for p in positions]}
    for index, column in enumerate(schema.STATISTICS):
        record[column.name] = positions * 10.0**index + steps[-1]
    record["delta_norm"] = np.array([0.0, 1e-5, 0.1])[:layers]
    return Rows(batch(columns, STEPS), batch(record, LAYERS))


def read_records(file: Path) -> Iterator[bytes]:
    """Yield the records of a `.wandb` file: LevelDB's log format, after a header of 7 bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # the rest of a block is padding
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield parts
            parts = b""


def read_back(folder: Path) -> dict[str, list]:
    """Return every record of the offline run, by type, with JSON values decoded."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # waits until W&B's process has written all files
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, list] = {"history": [], "run": [], "summary": []}
    for data in read_records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            found["history"].append(
                {"_step": record.history.step.num, **decoded(record.history.item)}
            )
        elif record.WhichOneof("record_type") == "run":
            found["run"].append(record.run)
        elif record.WhichOneof("record_type") == "summary":
            found["summary"].extend(decoded(record.summary.update).items())
    return found


def decoded(items) -> dict:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def environment_without_wandb() -> dict[str, str]:
    """Return the environment without the address of W&B's process."""
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


def gradlab_messages(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("gradlab")]


def test_the_wandb_run_has_series_charts_config_and_summary(tmp_path, capfd):
    track = tracking(tmp_path)
    track.write(rows(0, 1))
    track.write(rows(1, 10))
    track.finish(
        {
            "verdict": "vanishing",
            "slope": -0.6,
            "findings": [{"kind": "vanishing", "cause": "the error signal falls"}],
            "test": {"loss": 2.0, "accuracy": None},
        }
    )
    found = read_back(tmp_path)
    assert capfd.readouterr() == ("", "")
    scalars = [row for row in found["history"] if "loss" in row]
    assert [row["_step"] for row in scalars] == list(range(11))
    assert [row["loss"] for row in scalars] == pytest.approx([1 / (1 + s) for s in range(11)])
    assert [row["grad_norm"] for row in scalars] == [10.0 + s for s in range(11)]
    assert "accuracy" not in scalars[0]  # null in regression
    recorded = [row["_step"] for row in scalars if "weight_grad_norm/03_layers.2" in row]
    assert recorded == [0, 10]
    assert scalars[10]["weight_grad_norm/03_layers.2"] == 3.0 + 10
    assert scalars[10]["delta_norm/02_layers.1"] == 1e-5
    assert scalars[10]["update_ratio/01_layers.0"] == 10.0**14 + 10
    run = found["run"][0]
    assert (run.display_name, run.run_group, list(run.tags)) == ("a run", "sweep/1", ["tried"])
    assert run.project == "gradlab"
    config = decoded(run.config.update)
    assert CONFIG.items() <= config.items()
    summary = dict(found["summary"])
    assert summary["verdict"] == "vanishing"
    assert summary["slope"] == -0.6
    assert summary["findings"] == ["vanishing"]
    assert summary["causes"] == ["the error signal falls"]
    assert summary["test_loss"] == 2.0
    (chart,) = [row for row in found["history"] if any("gradient_profile" in k for k in row)]
    assert chart["_step"] >= 10
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/*.table.json")
    cells = json.loads(table.read_text())["data"]
    values = [cell for row in cells for cell in row if isinstance(cell, float)]
    assert any(v == pytest.approx(-5) for v in values)
    assert not any(math.isinf(v) for v in values)


def test_a_chart_shows_the_last_recurrent_layer_over_time(tmp_path):
    modules = [("depth", 1, "layers.0"), ("depth", 2, "layers.1")]
    modules += [(a, t, f"layers.{l}") for a in ("time", "cell") for l in (0, 1) for t in (1, 2)]
    axis, position, module = zip(*modules, strict=True)
    norms = 10.0 ** -np.arange(len(modules))
    layers = {
        "step": np.zeros(len(modules), dtype=np.int32), "axis": list(axis),
        "position": np.array(position), "module": list(module),
        **{c.name: np.ones(len(modules)) for c in schema.STATISTICS}, "act_grad_norm": norms,
    }  # fmt: skip
    track = tracking(tmp_path)
    track.write(Rows(rows(0, 1).steps, batch(layers, LAYERS)))
    track.finish({})
    charts = {key for row in read_back(tmp_path)["history"] for key in row}
    assert any("gradient_through_time" in key for key in charts)
    tables = [
        json.loads(file.read_text())["data"]
        for file in tmp_path.glob("wandb/offline-run-*/files/media/table/*through_time*.table.json")
    ]
    assert [[cell for cell in row if isinstance(cell, float)] for row in tables[0]] == [[-8], [-9]]


def test_every_name_begins_with_the_prefix(tmp_path):
    track = tracking(tmp_path, prefix="gradlab/")
    track.write(rows(0, 1))
    track.finish({"verdict": "healthy"})
    found = read_back(tmp_path)
    keys = {key for row in found["history"] for key in row if not key.startswith("_")}
    assert {"gradlab/loss", "gradlab/delta_norm/02_layers.1"} <= keys
    assert {key.split("/")[0] for key in keys} == {"gradlab"}
    assert dict(found["summary"])["gradlab/verdict"] == "healthy"


class BrokenRun:
    """A W&B run with one method that fails."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.summary = {}

    def log(self, *args, **kwargs):
        if self.broken == "log":
            raise OSError(28, "No space left on device")

    def finish(self):
        if self.broken == "finish":
            raise ConnectionError("the service is gone")


@pytest.mark.parametrize("broken", ["init", "log", "finish", "import"])
def test_a_failure_of_wandb_is_one_warning(tmp_path, caplog, monkeypatch, broken):
    if broken == "import":
        monkeypatch.setitem(sys.modules, "wandb", None)
    else:
        import wandb

        def init(**kwargs):
            if broken == "init":
                raise wandb.errors.CommError("no service")
            return BrokenRun(broken)

        monkeypatch.setattr(wandb, "init", init)
    with caplog.at_level(logging.WARNING):
        track = tracking(tmp_path)
        for first in range(3):
            track.write(rows(first, 1))
        track.finish({"verdict": "healthy"})
    (warning,) = gradlab_messages(caplog)
    assert warning.startswith("WandB failed, the run continues without it: ")


def test_an_unwritable_folder_does_not_stop_the_run(tmp_path, caplog):
    file = tmp_path / "file"
    file.write_text("in the way")
    track = tracking(file)
    track.write(rows(0, 1))
    track.finish({})
    assert len(gradlab_messages(caplog)) <= 1  # no warning if W&B chooses another folder


def test_online_mode_without_an_account_falls_back_to_offline(tmp_path, caplog):
    environment = environment_without_wandb()
    began = time.monotonic()
    track = tracking(tmp_path, mode="online")
    track.write(rows(0, 1))
    track.finish({})
    assert time.monotonic() - began < 60  # it did not wait for a login
    assert gradlab_messages(caplog) == [
        "W&B found no account: this run is logged offline (see wandb login)"
    ]
    assert any("loss" in row for row in read_back(tmp_path)["history"])
    assert environment_without_wandb() == environment


def test_an_account_is_found_in_netrc_and_in_the_environment(tmp_path, monkeypatch):
    assert not has_account()
    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai login user password " + "x" * 40 + "\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert has_account()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_account()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_account()


def test_without_a_home_directory_no_account_is_found(monkeypatch):
    import pwd

    monkeypatch.delenv("NETRC")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    assert not has_account()


def test_directories_that_the_user_set_for_wandb_are_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    monkeypatch.setenv("WANDB_CACHE_DIR", "mine")
    for kind in ("DATA", "CONFIG"):  # set, so that they are unset again afterwards
        monkeypatch.setenv(f"WANDB_{kind}_DIR", "")
        monkeypatch.delenv(f"WANDB_{kind}_DIR")
    set_directories(tmp_path)
    assert os.environ["WANDB_CACHE_DIR"] == "mine"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb" / "home")
