"""One record of many processes: whole tensors from their shards, one batch from its parts."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gradlab.errors import WatchError
from gradlab.lab.pool import KNOWN, NORMS, pooled

LOCAL = [KNOWN.index(name) for name in NORMS]


def whole(x: Tensor) -> Tensor:
    """Return a tensor with all its entries: of a sharded one every rank must ask for it."""
    full: Any = getattr(x, "full_tensor", None)
    return x if full is None else full()


def ranks_of(model: nn.Module) -> int:
    """Return how many processes train the model together, averaging their gradients.

    Raises:
        WatchError: it is wrapped in a way that hides its parameters.
    """
    kinds = {type(module).__name__ for module in model.modules()}
    if "FullyShardedDataParallel" in kinds:
        raise WatchError(
            "expected parameters as they are, given FullyShardedDataParallel, which flattens "
            "them; shard the model by torch.distributed.fsdp.fully_shard"
        )
    sharded = any(hasattr(p, "full_tensor") for p in model.parameters())
    together = sharded or "DistributedDataParallel" in kinds
    return dist.get_world_size() if together and dist.is_initialized() else 1


def first_rank(ranks: int) -> bool:
    """Say whether this process is the one that writes."""
    return ranks == 1 or dist.get_rank() == 0


def batch_of_all(known_SK: Tensor, alive_U: Tensor, loss: Tensor, ranks: int) -> list[Tensor]:
    """Return what a rank knows as it is for all ranks' samples together.

    The gradient of the mean over ranks is that of a rank's own loss, divided by their number.

    Args:
        known_SK: of each site, the columns `pool.KNOWN`.
        alive_U: for each unit 0.0 if it is dead, else 1.0.
        loss: the rank's own.
        ranks: their number.
    """
    if ranks == 1:
        return [known_SK, alive_U, loss]
    rows, cols = known_SK.shape
    mine = torch.cat([known_SK.flatten(), loss.double().reshape(1)])
    parts = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(parts, mine)
    dist.all_reduce(alive_U, dist.ReduceOp.MAX)
    every = torch.stack(parts)
    known = pooled(every[:, :-1].view(ranks, rows, cols))
    known[:, LOCAL] /= ranks
    return [known, alive_U, every[:, -1].mean()]
