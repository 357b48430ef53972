"""The code of each of two processes in `test_distributed`: train on half of every batch."""

import os
import pickle
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import gradlab
from gradlab.errors import WatchError
from gradlab.sinks import Parquet
from tests.monitor.loops import Batch, batches, loss_of, mlp, train

RANKS = 2


def halves(rank: int) -> list[Batch]:
    return [(x[rank::RANKS], y[rank::RANKS]) for x, y in batches(4, 8)]


def whole_batches() -> list[Batch]:
    return batches(4, 8)


def watch_ddp(rank: int, folder: Path):
    model = DistributedDataParallel(mlp())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, sinks=[Parquet(folder / "ddp")]) as monitor:
        train(model, optimizer, halves(rank))
    monitor.report(folder / "report")
    return monitor.frame(), monitor.steps(), [p.detach() for p in model.parameters()]


def train_ddp_without_watch(rank: int, folder: Path):
    model = DistributedDataParallel(mlp())
    train(model, torch.optim.SGD(model.parameters(), 0.1), halves(rank))
    return [p.detach() for p in model.parameters()]


def watch_accumulation(rank: int, folder: Path):
    """Two micro-batches a step, the first without averaging."""
    model = DistributedDataParallel(mlp())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = halves(rank)
    with gradlab.watch(model, optimizer) as monitor:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            with model.no_sync():
                (loss_of(model, first) / 2).backward()
            (loss_of(model, second) / 2).backward()
            optimizer.step()
    return monitor.frame(), monitor.steps()


def watch_shards(rank: int, folder: Path):
    model = mlp()
    for module in model:
        if isinstance(module, nn.Linear):
            fully_shard(module)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        for batch in halves(rank):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e3)
            optimizer.step()
    return monitor.frame(), monitor.steps(), [p.full_tensor().detach() for p in model.parameters()]


def watch_flat_shards(rank: int, folder: Path):
    model = FullyShardedDataParallel(mlp(), device_id=torch.device("cpu"))
    try:
        gradlab.watch(model)
    except WatchError as error:
        return str(error)


class Experts(nn.Module):
    """Two experts of different widths; each rank calls another one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3)) for width in (5, 9)
        )
        with torch.no_grad():
            for expert in self.experts:
                expert[0].bias[:3] = -100.0  # dead

    def forward(self, x):
        rank = dist.get_rank() if dist.is_initialized() else None
        h = self.first(x)
        if rank is None:  # a single process: each expert gets its half of the batch
            parts = [expert(h[i::RANKS]) for i, expert in enumerate(self.experts)]
            return torch.stack(parts, 1).flatten(0, 1)
        return self.experts[rank](h)


def watch_experts(rank: int, folder: Path):
    model = DistributedDataParallel(Experts(), find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, halves(rank))
    return monitor.frame(), monitor.steps()


class Tied(nn.Module):
    """An embedding and a head that share a weight, with a checkpoint between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.inner = nn.Embedding(7, 5), nn.Sequential(nn.Linear(5, 5), nn.Tanh())
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(checkpoint(self.inner, self.embed(tokens), use_reentrant=False))


def watch_tied(rank: int | None, folder: Path | None):
    """Train scaled, accumulated and clipped, with a skipped step; rank None: a single process."""
    model = Tied() if rank is None else DistributedDataParallel(Tied())
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with gradlab.watch(model, optimizer) as monitor:
        for step in range(4):
            optimizer.zero_grad()
            for part in range(2):
                draw = torch.Generator().manual_seed(2 * step + part)
                tokens = torch.randint(7, (4, 6), generator=draw)
                tokens = tokens if rank is None else tokens[rank::RANKS]
                loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
                scaler.scale(loss / 2 * (torch.inf if step == 1 else 1.0)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
    return monitor.frame(), monitor.steps()


def watch_lightning(rank: int, folder: Path):
    try:
        from tests.integrations.test_lightning import Module, Watch, fit
    except BaseException as error:  # pytest skips if the library is not installed
        return repr(error)
    watch = Watch()
    fit(Module(), [watch], folder, halves(rank), strategy="ddp", devices=RANKS)
    return watch.monitor.frame(), watch.monitor.steps()


def watch_trainer(rank: int, folder: Path):
    try:
        from tests.integrations.test_huggingface import Watch, train
    except BaseException as error:
        return repr(error)
    watch = Watch(sinks=[Parquet(folder / "trainer")])
    train(folder, [watch], ddp_backend="gloo", ddp_find_unused_parameters=False)
    return watch.monitor.frame(), watch.monitor.steps()


TASKS = (
    watch_ddp,
    train_ddp_without_watch,
    watch_accumulation,
    watch_shards,
    watch_flat_shards,
    watch_experts,
    watch_tied,
    watch_lightning,
    watch_trainer,
)


def main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    launcher = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS}
    os.environ |= {name: str(value) for name, value in launcher.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "tests", "GROUP_RANK": "0"}
    os.environ |= {"MASTER_PORT": "29500", "ACCELERATE_USE_CPU": "true"}
    warnings.simplefilter("ignore")  # of Lightning and transformers
    path = Path(folder)
    dist.init_process_group("gloo", f"file://{path}/meeting", rank=rank, world_size=RANKS)
    results = {}
    for task in TASKS:
        try:
            results[task.__name__] = task(rank, path)
        except Exception as error:
            results[task.__name__] = repr(error)
    (path / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    dist.barrier()
    dist.destroy_process_group()
