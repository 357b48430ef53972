"""Two processes, each with half of every batch: one record, that of the whole batch."""

import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

import gradlab
from tests.monitor import processes
from tests.monitor.loops import loss_of, mlp, train

SUMMED = ["update_ratio", "weight_norm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    mp.spawn(processes.main, (str(path),), processes.RANKS)
    return path


@pytest.fixture(scope="module")
def told(folder):
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, processes.whole())
    return monitor


def assert_same(frame, expected, rtol=1e-5):
    assert frame["module"].tolist() == expected["module"].tolist()
    names = expected.select_dtypes("float64").columns.drop("seconds", errors="ignore")
    found, wanted = frame[names], expected[names]
    assert found.isna().equals(wanted.isna())  # null where nothing is measured
    numbers = [each.to_numpy(dtype=float, na_value=np.nan) for each in (found, wanted)]
    np.testing.assert_allclose(*numbers, rtol=rtol, atol=1e-9, equal_nan=True)


def test_ddp_is_one_record_of_the_whole_batch(told, alone):
    for rank in told:
        layers, steps, _ = rank["of_ddp"]
        assert_same(layers, alone.frame())
        for column in ("loss", "grad_norm", "lr"):
            np.testing.assert_allclose(steps[column], alone.steps()[column], rtol=1e-5)


def test_ddp_trains_as_without(told):
    for rank in told:
        for a, b in zip(rank["of_ddp"][2], rank["of_ddp_without"], strict=True):
            assert torch.equal(a, b)


def test_ddp_writes_once(folder, told):
    frames = gradlab.load(folder / "ddp")
    assert len(frames.layers) == len(told[0]["of_ddp"][0])
    assert frames.runs["status"].tolist() == ["completed"]
    assert (folder / "report" / "report" / "index.html").is_file()


def test_accumulation_without_averaging_in_between(told):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = processes.whole()
    with gradlab.watch(model, optimizer) as monitor:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            ((loss_of(model, first) + loss_of(model, second)) / 2).backward()
            optimizer.step()
    for rank in told:
        assert_same(rank["of_accumulation"][0], monitor.frame())


def test_shards_are_told_of_as_whole_parameters(told, alone):
    for rank in told:
        layers, steps, _ = rank["of_shards"]
        assert_same(layers, alone.frame())
        np.testing.assert_allclose(steps["grad_norm"], alone.steps()["grad_norm"], rtol=1e-5)
        np.testing.assert_allclose(steps["clip_factor"], 1.0)


def test_ranks_that_call_different_modules(told):
    model = processes.Experts()
    data = [(x, torch.stack([y[0::2], y[1::2]], 1).flatten()) for x, y in processes.whole()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data)
    for rank in told:
        assert_same(rank["of_experts"][0], monitor.frame())
    assert monitor.frame()["dead"].between(0.3, 0.9).any()


def test_tied_weights_scaled_accumulated_clipped_skipped_and_checkpointed(told):
    frame, steps = processes.of_tied(None, None)
    assert steps["step"].tolist() == [0, 1, 2]
    for rank in told:
        assert_same(rank["of_tied"][0], frame, rtol=1e-4)
        assert_same(rank["of_tied"][1].assign(module=""), steps.assign(module=""), rtol=1e-4)


def test_lightning_keeps_one_record(told, alone):
    if isinstance(told[0]["of_lightning"], str):
        pytest.skip(told[0]["of_lightning"])
    for rank in told:
        layers, steps = rank["of_lightning"]
        assert_same(layers.assign(module=""), alone.frame().assign(module=""))
        np.testing.assert_allclose(steps["loss"], alone.steps()["loss"], rtol=1e-5)


def test_hugging_faces_trainer_keeps_one_record(told, folder, tmp_path):
    if isinstance(told[0]["of_trainer"], str):
        pytest.skip(told[0]["of_trainer"])
    from tests.integrations import test_huggingface as test_trainer

    whole = test_trainer.Watch()
    test_trainer.train(tmp_path, [whole], per_device_train_batch_size=4)
    for rank in told:
        layers, steps = rank["of_trainer"]
        # Positions are embedded once for a whole batch: their signal is a sum over samples.
        apart = layers.query("module != 'transformer.wpe'")
        assert_same(apart, whole.monitor.frame().loc[apart.index], rtol=1e-4)
        np.testing.assert_allclose(steps["loss"], whole.monitor.steps()["loss"], rtol=1e-5)
    assert len(gradlab.load(folder / "trainer").layers) == len(told[0]["of_trainer"][0])


def test_flattened_parameters_are_refused(told):
    assert "shard the model by torch.distributed.fsdp.fully_shard" in told[0]["of_flat_shards"]
