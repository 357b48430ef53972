"""Two processes with half of every batch give the record of the whole batch."""

import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

import gradlab
from tests.monitor import processes
from tests.monitor.loops import loss_of, mlp, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    mp.spawn(processes.main, (str(path),), processes.RANKS)
    return path


@pytest.fixture(scope="module")
def results(folder):
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.fixture(scope="module")
def single():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, processes.whole_batches())
    return monitor


def assert_same(frame, expected, rtol=1e-5):
    assert frame["module"].tolist() == expected["module"].tolist()
    names = expected.select_dtypes("float64").columns.drop("seconds", errors="ignore")
    assert frame[names].isna().equals(expected[names].isna())
    numbers = [part[names].to_numpy(dtype=float, na_value=np.nan) for part in (frame, expected)]
    np.testing.assert_allclose(*numbers, rtol=rtol, atol=1e-9, equal_nan=True)


def test_ddp_gives_one_record_of_the_whole_batch(results, single):
    for rank in results:
        layers, steps, _ = rank["watch_ddp"]
        assert_same(layers, single.frame())
        for column in ("loss", "grad_norm", "lr"):
            np.testing.assert_allclose(steps[column], single.steps()[column], rtol=1e-5)


def test_ddp_training_is_the_same_with_and_without_watch(results):
    for rank in results:
        for a, b in zip(rank["watch_ddp"][2], rank["train_ddp_without_watch"], strict=True):
            assert torch.equal(a, b)


def test_ddp_writes_once(folder, results):
    frames = gradlab.load(folder / "ddp")
    assert len(frames.layers) == len(results[0]["watch_ddp"][0])
    assert frames.runs["status"].tolist() == ["completed"]
    assert (folder / "report" / "report" / "index.html").is_file()


def test_accumulation_with_no_sync(results):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = processes.whole_batches()
    with gradlab.watch(model, optimizer) as monitor:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            ((loss_of(model, first) + loss_of(model, second)) / 2).backward()
            optimizer.step()
    for rank in results:
        assert_same(rank["watch_accumulation"][0], monitor.frame())


def test_sharded_parameters_are_recorded_as_whole_parameters(results, single):
    for rank in results:
        layers, steps, _ = rank["watch_shards"]
        assert_same(layers, single.frame())
        np.testing.assert_allclose(steps["grad_norm"], single.steps()["grad_norm"], rtol=1e-5)
        np.testing.assert_allclose(steps["clip_factor"], 1.0)


def test_ranks_that_call_different_modules(results):
    model = processes.Experts()
    data = [(x, torch.stack([y[0::2], y[1::2]], 1).flatten()) for x, y in processes.whole_batches()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    for rank in results:
        assert_same(rank["watch_experts"][0], monitor.frame())
    assert monitor.frame()["dead"].between(0.3, 0.9).any()


def test_tied_weights_scaled_accumulated_clipped_skipped_and_checkpointed(results):
    frame, steps = processes.watch_tied(None, None)
    assert steps["step"].tolist() == [0, 1, 2]
    for rank in results:
        assert_same(rank["watch_tied"][0], frame, rtol=1e-4)
        assert_same(rank["watch_tied"][1].assign(module=""), steps.assign(module=""), rtol=1e-4)


def test_lightning_writes_one_record(results, single):
    if isinstance(results[0]["watch_lightning"], str):
        pytest.skip(results[0]["watch_lightning"])
    for rank in results:
        layers, steps = rank["watch_lightning"]
        assert_same(layers.assign(module=""), single.frame().assign(module=""))
        np.testing.assert_allclose(steps["loss"], single.steps()["loss"], rtol=1e-5)


def test_the_trainer_of_hugging_face_writes_one_record(results, folder, tmp_path):
    if isinstance(results[0]["watch_trainer"], str):
        pytest.skip(results[0]["watch_trainer"])
    from tests.integrations import test_huggingface as test_trainer

    whole = test_trainer.Watch()
    test_trainer.train(tmp_path, [whole], per_device_train_batch_size=4)
    for rank in results:
        layers, steps = rank["watch_trainer"]
        # Positions are embedded once for a batch, so their signal is a sum over its samples.
        others = layers.query("module != 'transformer.wpe'")
        assert_same(others, whole.monitor.frame().loc[others.index], rtol=1e-4)
        np.testing.assert_allclose(steps["loss"], whole.monitor.steps()["loss"], rtol=1e-5)
    assert len(gradlab.load(folder / "trainer").layers) == len(results[0]["watch_trainer"][0])


def test_flattened_parameters_are_refused(results):
    assert (
        "shard the model with torch.distributed.fsdp.fully_shard" in results[0]["watch_flat_shards"]
    )
