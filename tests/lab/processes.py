"""What each of two processes does in `test_ranks`: trains its half of a batch, and tells of it."""

import pickle
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import gradlab
from gradlab.errors import WatchError
from gradlab.lab.sinks import Parquet
from tests.lab.loops import Batch, batches, loss_of, mlp, train

RANKS = 2


def halves(rank: int) -> list[Batch]:
    return [(x[rank::RANKS], y[rank::RANKS]) for x, y in batches(4, 8)]


def whole() -> list[Batch]:
    return batches(4, 8)


def of_ddp(rank: int, folder: Path):
    model = DistributedDataParallel(mlp())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, sinks=[Parquet(folder / "ddp")]) as lab:
        train(model, optimizer, halves(rank))
    lab.report(folder / "report")
    return lab.frame(), lab.steps(), [p.detach() for p in model.parameters()]


def of_ddp_without(rank: int, folder: Path):
    model = DistributedDataParallel(mlp())
    train(model, torch.optim.SGD(model.parameters(), 0.1), halves(rank))
    return [p.detach() for p in model.parameters()]


def of_accumulation(rank: int, folder: Path):
    """Two micro-batches a step, the first without averaging."""
    model = DistributedDataParallel(mlp())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = halves(rank)
    with gradlab.watch(model, optimizer) as lab:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            with model.no_sync():
                (loss_of(model, first) / 2).backward()
            (loss_of(model, second) / 2).backward()
            optimizer.step()
    return lab.frame(), lab.steps()


def of_shards(rank: int, folder: Path):
    model = mlp()
    for module in model:
        if isinstance(module, nn.Linear):
            fully_shard(module)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as lab:
        for batch in halves(rank):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e3)
            optimizer.step()
    return lab.frame(), lab.steps(), [p.full_tensor().detach() for p in model.parameters()]


def of_flat_shards(rank: int, folder: Path):
    model = FullyShardedDataParallel(mlp(), device_id=torch.device("cpu"))
    try:
        gradlab.watch(model)
    except WatchError as error:
        return str(error)


TOLD = (of_ddp, of_ddp_without, of_accumulation, of_shards, of_flat_shards)


def main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    path = Path(folder)
    dist.init_process_group("gloo", f"file://{path}/meeting", rank=rank, world_size=RANKS)
    told = {}
    for each in TOLD:
        try:
            told[each.__name__] = each(rank, path)
        except Exception as error:
            told[each.__name__] = repr(error)
    (path / f"{rank}.pickle").write_bytes(pickle.dumps(told))
    dist.barrier()
    dist.destroy_process_group()
