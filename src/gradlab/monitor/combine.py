"""Combine the parts of one batch: calls of a module, micro-batches and processes.

Each call of a module gives a row of numbers, `CALL_COLUMNS`. The combined batch has the same
columns, as if all its samples had passed through the module in one call.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gradlab.errors import WatchError
from gradlab.recording.columns import is_null, ratio
from gradlab.recording.norms import mean_exact, norm
from gradlab.recording.rows import NULL

GRADIENT_NORMS = ("delta", "back", "preact_grad", "act_grad")
CALL_COLUMNS = (
    "preact_count",
    "preact_mean",
    "preact_std",
    "act_count",
    "act_mean",
    "act_std",
    "saturated",
    *GRADIENT_NORMS,
)
"""Number of entries, their mean and standard deviation, before and after the activation; the share
of saturated entries; and the norms of four gradients. `NULL` stands for a missing number."""
GRADIENT_INDICES = [CALL_COLUMNS.index(name) for name in GRADIENT_NORMS]

Alive = dict[int, Tensor]
"""For each module index, 1.0 for each unit that is alive, else 0.0."""


def combine_calls(rows_CK: Tensor) -> Tensor:
    """Combine the rows of several calls into one row.

    A norm is the root of the sum of squares over the calls. A variance is the mean of the calls'
    variances, plus the variance of their means.

    Args:
        rows_CK: A row of `CALL_COLUMNS` for each call, [C, ..., K].

    Returns:
        The combined row, [..., K]. A number is null if it is null in every call.
    """
    column = {name: rows_CK[..., k] for k, name in enumerate(CALL_COLUMNS)}
    out = {name: _root_of_squares(column[name]) for name in GRADIENT_NORMS}
    for part in ("preact", "act"):
        count = column[f"{part}_count"]
        mean, std = column[f"{part}_mean"], column[f"{part}_std"]
        counted = torch.where(is_null(count), 0.0, count)
        total = counted.sum(0)
        weight = torch.where(total > 0, counted / total, 0.0)
        centre = _weighted_sum(weight, mean)
        # The difference of two mean squares would lose its digits if the means are nearly equal.
        deviations = torch.cat([std, torch.where(is_null(mean), NULL, mean - centre)])
        root = torch.cat([weight, weight]).sqrt()
        out |= {
            f"{part}_count": torch.where(total > 0, total, NULL),
            f"{part}_mean": centre,
            f"{part}_std": _root_of_squares(torch.where(root > 0, root * deviations, NULL)),
        }
        if part == "act":
            out["saturated"] = _weighted_sum(weight, column["saturated"])
    return torch.stack([out[name] for name in CALL_COLUMNS], dim=-1)


def _weighted_sum(weight_C: Tensor, value_C: Tensor) -> Tensor:
    """Return the weighted sum over calls; null without weights, or if a weighted value is null."""
    used = weight_C > 0
    total = torch.where(used, weight_C * value_C, 0.0).sum(0)
    null = ~used.any(0) | (used & is_null(value_C)).any(0)
    return torch.where(null, NULL, total)


def _root_of_squares(value_C: Tensor) -> Tensor:
    measured = ~is_null(value_C)
    total = norm(torch.where(measured, value_C, 0.0), 0)
    return torch.where(measured.any(0), total, NULL)


def whole_tensor(x: Tensor) -> Tensor:
    """Return a tensor with all its entries. For a sharded tensor, every rank must call this."""
    full: Any = getattr(x, "full_tensor", None)
    return x if full is None else full()


def count_ranks(model: nn.Module) -> int:
    """Return the number of processes that train the model together and average its gradients.

    Raises:
        WatchError: FSDP1 wraps the model, which hides its parameters.
    """
    kinds = {type(module).__name__ for module in model.modules()}
    if "FullyShardedDataParallel" in kinds:
        raise WatchError(
            "expected a model with its original parameters, given FullyShardedDataParallel, which "
            "flattens them; shard the model with torch.distributed.fsdp.fully_shard"
        )
    sharded = any(hasattr(p, "full_tensor") for p in model.parameters())
    is_distributed = sharded or "DistributedDataParallel" in kinds
    return dist.get_world_size() if is_distributed and dist.is_initialized() else 1


def can_repeat(model: nn.Module) -> bool:
    """Return whether one process may call the model alone: it must not wait for other processes."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return True
    waits = any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    return not waits and not any(hasattr(p, "full_tensor") for p in model.parameters())


def is_first_rank(ranks: int) -> bool:
    """Return whether this process writes the record."""
    return ranks == 1 or dist.get_rank() == 0


def combine_ranks(
    numbers_SK: Tensor, alive: Alive, loss: Tensor, ranks: int
) -> tuple[Tensor, Alive, Tensor]:
    """Combine the numbers of all ranks, as if their samples were one batch.

    Training uses the mean of the ranks' losses. So the gradients of the combined batch are the
    gradients of each rank's loss, divided by the number of ranks.

    Args:
        numbers_SK: The columns `CALL_COLUMNS` of each module on this rank, [S, K].
        alive: The units that are alive on this rank.
        loss: The loss of this rank, a scalar.
        ranks: The number of ranks.

    Returns:
        The combined numbers [S, K]; the units that are alive on any rank; the mean of the losses.
    """
    if ranks == 1:
        return numbers_SK, alive, loss
    modules, cols = numbers_SK.shape
    units_S = numbers_SK.new_tensor([len(alive.get(index, ())) for index in range(modules)])
    local = torch.cat([numbers_SK.flatten(), units_S, loss.double().reshape(1)])
    parts = [torch.empty_like(local) for _ in range(ranks)]
    dist.all_gather(parts, local)
    numbers_R, units_RS, loss_R = torch.stack(parts).split([modules * cols, modules, 1], dim=1)
    numbers = combine_calls(numbers_R.view(ranks, modules, cols))
    gradients = numbers[:, GRADIENT_INDICES]
    numbers[:, GRADIENT_INDICES] = ratio(gradients, numbers.new_tensor(ranks))
    loss = torch.where(is_null(loss_R).any(), NULL, mean_exact(loss_R, (0, 1)))
    return numbers, _combine_alive(alive, units_RS), loss


def _combine_alive(alive: Alive, units_RS: Tensor) -> Alive:
    """Return the units that are alive on any rank, of modules with equal widths on all ranks."""
    most_S = units_RS.amax(0)
    agreed_S = ((units_RS == most_S) | (units_RS == 0)).all(0) & (most_S > 0)
    units = {int(index): int(most_S[index]) for index in agreed_S.nonzero()}
    if not units:
        return {}
    parts = [alive.get(index, units_RS.new_zeros(count)) for index, count in units.items()]
    every = torch.cat(parts)
    dist.all_reduce(every, dist.ReduceOp.MAX)
    return dict(zip(units, every.split(list(units.values())), strict=True))
