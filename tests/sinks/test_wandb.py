"""The W&B run that the sink starts, read back from W&B's own file; and failures of W&B."""

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
    """Return the sink as a run has it: opened, and isolated from the training."""
    sink = WandB(project="gradlab", tags=["tried"], mode=mode, **kwargs)
    sinks = Sinks([sink], logging.getLogger("gradlab").warning)
    sinks.open(RunInfo(name="a run", group="sweep/1", folder=folder, config=CONFIG))
    return sinks


def rows(first: int, count: int, layers: int = 3) -> Rows:
    """Steps first..first+count-1, the last of them with a record of `layers` layers."""
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


def stored(file: Path) -> Iterator[bytes]:
    """The records of a `.wandb` file: LevelDB's log format, after a header of 7 bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # what is left of a block is padding
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_back(folder: Path) -> dict[str, list]:
    """Every record of the offline run, by type, with JSON values decoded."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # the service writes in its own time; when it has ended, all is on disk
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, list] = {"history": [], "run": [], "summary": []}
    for data in stored(file):
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


def users_environment() -> dict[str, str]:
    """All but the address of W&B's own process, which it keeps there."""
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


def ours(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("gradlab")]


def test_what_wandb_is_given(tmp_path, capfd):
    track = tracking(tmp_path)
    track.write(rows(0, 1))
    track.write(rows(1, 10))
    track.finish(
        {
            "verdict": "vanishing",
            "slope": -0.6,
            "findings": [{"kind": "vanishing"}],
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
    assert summary["test_loss"] == 2.0
    (chart,) = [row for row in found["history"] if any("gradient_profile" in k for k in row)]
    assert chart["_step"] >= 10
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/*.table.json")
    cells = json.loads(table.read_text())["data"]
    values = [cell for row in cells for cell in row if isinstance(cell, float)]
    assert any(v == pytest.approx(-5) for v in values)
    assert not any(math.isinf(v) for v in values)


def test_the_state_of_the_last_recurrent_layer_is_drawn_over_time(tmp_path):
    sites = [("depth", 1, "layers.0"), ("depth", 2, "layers.1")]
    sites += [(a, t, f"layers.{l}") for a in ("time", "cell") for l in (0, 1) for t in (1, 2)]
    axis, position, site = zip(*sites, strict=True)
    norms = 10.0 ** -np.arange(len(sites))
    layers = {
        "step": np.zeros(len(sites), dtype=np.int32), "axis": list(axis),
        "position": np.array(position), "module": list(site),
        **{c.name: np.ones(len(sites)) for c in schema.STATISTICS}, "act_grad_norm": norms,
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


def test_the_prefix_stands_before_every_name(tmp_path):
    track = tracking(tmp_path, prefix="gradlab/")
    track.write(rows(0, 1))
    track.finish({"verdict": "healthy"})
    found = read_back(tmp_path)
    keys = {key for row in found["history"] for key in row if not key.startswith("_")}
    assert {"gradlab/loss", "gradlab/delta_norm/02_layers.1"} <= keys
    assert {key.split("/")[0] for key in keys} == {"gradlab"}
    assert dict(found["summary"])["gradlab/verdict"] == "healthy"


class BrokenRun:
    """A W&B run of which one method fails."""

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
def test_a_failure_of_wandb_is_one_warning_and_no_more(tmp_path, caplog, monkeypatch, broken):
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
    (warning,) = ours(caplog)
    assert warning.startswith("WandB failed, the run continues without it: ")


def test_no_folder_to_write_to(tmp_path, caplog):
    file = tmp_path / "file"
    file.write_text("in the way")
    track = tracking(file)
    track.write(rows(0, 1))
    track.finish({})
    assert len(ours(caplog)) <= 1  # W&B may take another folder; it must not stop the run


def test_online_without_an_account_is_offline(tmp_path, caplog):
    environment = users_environment()
    began = time.monotonic()
    track = tracking(tmp_path, mode="online")
    track.write(rows(0, 1))
    track.finish({})
    assert time.monotonic() - began < 60  # it did not wait for an answer
    assert ours(caplog) == [
        "W&B has no account here: this run is tracked offline (see wandb login)"
    ]
    assert any("loss" in row for row in read_back(tmp_path)["history"])
    assert users_environment() == environment


def test_where_an_account_is_looked_for(tmp_path, monkeypatch):
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


def test_an_account_is_looked_for_where_there_is_no_home(monkeypatch):
    import pwd

    monkeypatch.delenv("NETRC")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    assert not has_account()


def test_the_users_own_places_for_wandb_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    monkeypatch.setenv("WANDB_CACHE_DIR", "mine")
    for kind in ("DATA", "CONFIG"):  # set, so that they are unset again afterwards
        monkeypatch.setenv(f"WANDB_{kind}_DIR", "")
        monkeypatch.delenv(f"WANDB_{kind}_DIR")
    set_directories(tmp_path)
    assert os.environ["WANDB_CACHE_DIR"] == "mine"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb" / "home")
