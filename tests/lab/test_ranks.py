"""Two processes, each with half of every batch: one record, that of the whole batch."""

import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

import gradlab
from tests.lab import processes
from tests.lab.loops import loss_of, mlp, train

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
    with gradlab.watch(model, optimizer) as lab:
        train(model, optimizer, processes.whole())
    return lab


def assert_same(frame, expected, rtol=1e-5):
    assert frame["site"].tolist() == expected["site"].tolist()
    names = expected.select_dtypes("float64").columns.drop("seconds", errors="ignore")
    np.testing.assert_allclose(frame[names], expected[names], rtol=rtol, atol=1e-9)


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
    with gradlab.watch(model, optimizer) as lab:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            ((loss_of(model, first) + loss_of(model, second)) / 2).backward()
            optimizer.step()
    for rank in told:
        assert_same(rank["of_accumulation"][0], lab.frame())


def test_shards_are_told_of_as_whole_parameters(told, alone):
    for rank in told:
        layers, steps, _ = rank["of_shards"]
        assert_same(layers, alone.frame())
        np.testing.assert_allclose(steps["grad_norm"], alone.steps()["grad_norm"], rtol=1e-5)
        np.testing.assert_allclose(steps["clip_factor"], 1.0)


def test_flattened_parameters_are_refused(told):
    assert "shard the model by torch.distributed.fsdp.fully_shard" in told[0]["of_flat_shards"]
