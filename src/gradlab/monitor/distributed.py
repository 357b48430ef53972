"""One record of many processes: whole tensors from their shards, one batch from its parts."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gradlab.errors import WatchError
from gradlab.monitor.pooling import KNOWN, NORMS, pooled
from gradlab.recording.columns import is_null, ratio
from gradlab.recording.norms import mean_exact
from gradlab.recording.rows import NULL

Alive = dict[int, Tensor]
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


def batch_of_all(
    known_SK: Tensor, alive: Alive, loss: Tensor, ranks: int
) -> tuple[Tensor, Alive, Tensor]:
    """Return what a rank knows as it is for all ranks' samples together.

    The gradient of the mean over ranks is that of a rank's own loss, divided by their number.

    Args:
        known_SK: For each module, the columns `KNOWN`.
        alive: of modules that tell it, for each unit 0.0 if it is dead, else 1.0.
        loss: the rank's own.
        ranks: their number.
    """
    if ranks == 1:
        return known_SK, alive, loss
    modules, cols = known_SK.shape
    units_S = known_SK.new_tensor([len(alive.get(index, ())) for index in range(modules)])
    mine = torch.cat([known_SK.flatten(), units_S, loss.double().reshape(1)])
    parts = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(parts, mine)
    known_R, units_RS, loss_R = torch.stack(parts).split([modules * cols, modules, 1], dim=1)
    known = pooled(known_R.view(ranks, modules, cols))
    known[:, LOCAL] = ratio(known[:, LOCAL], known.new_tensor(ranks))
    loss = torch.where(is_null(loss_R).any(), NULL, mean_exact(loss_R, (0, 1)))
    return known, _alive_anywhere(alive, units_RS), loss


def _alive_anywhere(alive: Alive, units_RS: Tensor) -> Alive:
    """Return which units are alive on any rank that has called the module."""
    most_S = units_RS.amax(0)
    agreed_S = ((units_RS == most_S) | (units_RS == 0)).all(0) & (most_S > 0)
    units = {int(index): int(most_S[index]) for index in agreed_S.nonzero()}
    if not units:
        return {}
    parts = [alive.get(index, units_RS.new_zeros(count)) for index, count in units.items()]
    every = torch.cat(parts)
    dist.all_reduce(every, dist.ReduceOp.MAX)
    return dict(zip(units, every.split(list(units.values())), strict=True))
