"""`gradlab.watch` writes rows to sinks: Parquet, W&B, TensorBoard, and sinks that fail."""

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


def test_a_sink_receives_every_row(tmp_path):
    memory = Memory()
    monitor = run([memory], every=2)
    assert [rows.steps["step"][0].as_py() for rows in memory.rows] == [0, 2]
    assert [v for rows in memory.rows for v in rows.layers["delta_norm"].to_pylist()] == (
        monitor.frame()["delta_norm"].tolist()
    )
    assert memory.result["status"] == "completed"
    assert memory.result["verdict"] == "too_early"


def test_parquet_files_are_readable_during_training(tmp_path):
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


def test_training_continues_without_a_sink_that_fails():
    class Broken(Memory):
        def write(self, rows):
            raise OSError("disk full")

    memory = Memory()
    with pytest.warns(
        UserWarning, match="Broken failed, the run continues without it: OSError: disk full"
    ):
        monitor = run([Broken(), memory])
    assert len(monitor.steps()) == len(memory.rows) == 3


def fail_after_one_step(monitor, model, optimizer, error):
    with monitor:
        train(model, optimizer, batches(1))
        raise error


def test_the_result_has_the_status_of_a_failed_or_interrupted_run(tmp_path):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for error, status in ((ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")):
        memory = Memory()
        monitor = gradlab.watch(model, optimizer, sinks=memory)
        with pytest.raises(type(error)):
            fail_after_one_step(monitor, model, optimizer, error)
        assert memory.result["status"] == status


def test_wandb_without_a_run_warns_to_call_init():
    with pytest.warns(UserWarning, match="call wandb.init"):
        run([WandB()])


@pytest.mark.parametrize("logging", ["step", "count", "seldom", "none"])
def test_wandb_has_every_row_of_the_user_and_of_gradlab(logging, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    quick = wandb.Settings(console="off", x_disable_stats=True, x_disable_machine_info=True)
    model, data = mlp(), batches(5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with wandb.init(dir=str(tmp_path), mode="offline", settings=quick) as user_run:
        with gradlab.watch(model, optimizer, sinks=WandB()):
            for step, batch in enumerate(data):
                train(model, optimizer, [batch])
                if logging == "count":
                    user_run.log({"user": step})
                elif logging == "step" or (logging == "seldom" and step % 2 == 0):
                    user_run.log({"user": step}, step=step)
        assert user_run.summary["verdict"] == "too_early"
    history = read_back(tmp_path)["history"]
    gradlab_steps = [row["step"] for row in history if "step" in row]
    user_steps = [row["user"] for row in history if "user" in row]
    assert gradlab_steps == [0, 1, 2, 3, 4]
    assert user_steps == {"none": [], "seldom": [0, 2, 4]}.get(logging, [0, 1, 2, 3, 4])
    assert all(row["user"] == row["step"] for row in history if "user" in row)
    assert sum("delta_norm/03_5" in row for row in history) == 5


def test_tensorboard_reads_the_event_files(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install tensorboard",
    )
    monitor = run([TensorBoard(tmp_path)])
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    found = [event.value for event in events.Scalars("weight_grad_norm/01_0")]
    expected = monitor.frame().query("position == 1")["weight_grad_norm"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2]
