"""Rows beside memory: Parquet as it grows, W&B and TensorBoard, and sinks that fail."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import gradlab
from gradlab.errors import StoreError
from gradlab.sinks import Memory, Parquet, TensorBoard, WandB
from tests.monitor.loops import batches, mlp, train
from tests.sinks.test_wandb import read_back


def run(sinks, steps=3, **kwargs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, sinks=sinks, **kwargs) as monitor:
        train(model, optimizer, batches(steps))
    return monitor


def test_a_sink_gets_every_row(tmp_path):
    memory = Memory()
    monitor = run([memory], every=2)
    assert [rows.steps["step"][0].as_py() for rows in memory.rows] == [0, 2]
    assert [v for rows in memory.rows for v in rows.layers["delta_norm"].to_pylist()] == (
        monitor.frame()["delta_norm"].tolist()
    )
    assert memory.result["status"] == "completed"
    assert memory.result["verdict"] == "healthy"


def test_parquet_can_be_read_while_it_grows(tmp_path):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, sinks=Parquet(tmp_path, interval=0.0)):
        train(model, optimizer, batches(3))
        assert json.loads((tmp_path / "run.json").read_text())["status"] == "running"
        assert "delta_norm" in pq.read_table(tmp_path / "layers.parquet").column_names
    frames = gradlab.load(tmp_path)
    assert frames.runs["status"].tolist() == ["completed"]
    assert len(frames.steps) == 3
    with pytest.raises(StoreError, match="already holds a run"):
        Parquet(tmp_path)


def test_a_sink_that_fails_is_left_out_and_the_training_goes_on():
    class Broken(Memory):
        def write(self, rows):
            raise OSError("disk full")

    memory = Memory()
    with pytest.warns(
        UserWarning, match="Broken failed, the run continues without it: OSError: disk full"
    ):
        monitor = run([Broken(), memory])
    assert len(monitor.steps()) == len(memory.rows) == 3


def broken(monitor, model, optimizer, error):
    with monitor:
        train(model, optimizer, batches(1))
        raise error


def test_a_failed_run_says_so(tmp_path):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for error, status in ((ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")):
        memory = Memory()
        monitor = gradlab.watch(model, optimizer, sinks=memory)
        with pytest.raises(type(error)):
            broken(monitor, model, optimizer, error)
        assert memory.result["status"] == status


def test_wandb_without_a_run_says_so():
    with pytest.warns(UserWarning, match="call wandb.init"):
        run([WandB()])


@pytest.mark.parametrize("own", ["step", "count", "seldom", "none"])
def test_wandb_keeps_every_row_of_the_users_and_of_ours(own, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    quick = wandb.Settings(console="off", x_disable_stats=True, x_disable_machine_info=True)
    model, data = mlp(), batches(5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with wandb.init(dir=str(tmp_path), mode="offline", settings=quick) as users:
        with gradlab.watch(model, optimizer, sinks=WandB()):
            for step, batch in enumerate(data):
                train(model, optimizer, [batch])
                if own == "count":
                    users.log({"own": step})
                elif own == "step" or (own == "seldom" and step % 2 == 0):
                    users.log({"own": step}, step=step)
        assert users.summary["verdict"] == "healthy"
    history = read_back(tmp_path)["history"]
    ours = [row["step"] for row in history if "step" in row]
    users_own = [row["own"] for row in history if "own" in row]
    assert ours == [0, 1, 2, 3, 4]
    assert users_own == {"none": [], "seldom": [0, 2, 4]}.get(own, [0, 1, 2, 3, 4])
    assert all(row["own"] == row["step"] for row in history if "own" in row)
    assert sum("delta_norm/03_5" in row for row in history) == 5


def test_tensorboard_can_read_them(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install gradlab[tensorboard]",
    )
    monitor = run([TensorBoard(tmp_path)])
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    found = [event.value for event in events.Scalars("weight_grad_norm/01_0")]
    expected = monitor.frame().query("position == 1")["weight_grad_norm"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2]
