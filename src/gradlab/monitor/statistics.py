"""Computes the rows of a recorded step, in one tensor that leaves the device once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.monitor.attach import WatchedModule
from gradlab.monitor.calls import Call
from gradlab.monitor.distributed import Alive, batch_of_all
from gradlab.monitor.optimizers import parameters_of
from gradlab.monitor.pooling import KNOWN, NORMS, pooled
from gradlab.monitor.step import Reading, WatchedStep
from gradlab.recording.columns import columns_from, is_null, ratio
from gradlab.recording.norms import norm
from gradlab.recording.rows import NULL, Rows, layer_rows, step_rows

SCALED = [KNOWN.index(name) for name in NORMS]


def measure(
    modules: Sequence[WatchedModule], found: WatchedStep, ranks: int
) -> tuple[Tensor, Tensor]:
    """Compute the columns of a recorded step of a watched network.

    Args:
        modules: The watched modules.
        found: The step.
        ranks: Number of processes that average their gradients.

    Returns:
        The columns of `schema.STATISTICS` for each module, [S, C], and the columns of
        `schema.STEPS` from loss to descent, [1, 5]; both float64 on the CPU, `NULL` where not
        measured.
    """
    device = next((p.norm.device for p in found.readings.values()), torch.device("cpu"))
    known_SK, alive = _signals(modules, found.calls, device)
    known_SK, alive, loss = batch_of_all(known_SK, alive, _loss(found.losses, device), ranks)
    at = {name: known_SK[:, k] for k, name in enumerate(KNOWN)}
    delta, act_grad = at["delta"], at["act_grad"]
    direct = is_null(at["preact_grad"])  # the activation receives the module's output itself
    table = columns_from(
        {
            "delta_norm": delta,
            "act_grad_norm": act_grad,
            "preact_grad": torch.where(direct, delta, at["preact_grad"]),
            "back": at["back"],
            "norm_factor": torch.where(
                is_null(act_grad), NULL, torch.where(direct, 1.0, ratio(delta, at["preact_grad"]))
            ),
            **{name: at[name] for name in ("preact_mean", "preact_std", "act_mean", "act_std")},
            "saturated": at["saturated"],
            "dead": _dead(alive, delta),
            **_weights(modules, found, device),
        }
    )
    step = torch.full((5,), NULL, dtype=torch.float64, device=device)
    step[0] = loss
    step[2:4] = _whole(found, device)
    both = torch.cat([table.flatten(), step]).cpu()
    return both[:-5].view(table.shape), both[None, -5:]


def rows_of(
    found: WatchedStep, names: Sequence[str], layers_SC: Tensor, step: Tensor, seconds: float
) -> Rows:
    """Make the rows of a recorded step.

    Args:
        found: The step.
        names: Of the modules, by depth.
        layers_SC: Result of `measure`, in the same order.
        step: Likewise.
        seconds: Time since the beginning.
    """
    keys = [("depth", position, name) for position, name in enumerate(names, start=1)]
    return Rows(
        step_rows([found.index], [found.lr], [seconds], step),
        layer_rows(found.index, keys, layers_SC),
    )


def by_depth(count: int, called: Sequence[int]) -> list[int]:
    """Return the indices of all modules, nearest the input first.

    Args:
        count: Number of modules.
        called: Modules in the order of their calls. A module without a call follows the module
            that was registered before it.
    """
    order = list(called)
    for index in range(count):
        if index not in called:
            order.insert(order.index(index - 1) + 1 if index else 0, index)
    return order


def _loss(losses: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return the sum over the backward passes of a step; null if none began at a scalar."""
    if not losses:
        return torch.full((), NULL, dtype=torch.float64, device=device)
    return torch.stack([loss.reshape(()).double().to(device) for loss in losses]).sum()


def _signals(
    modules: Sequence[WatchedModule], calls: Sequence[Call], device: torch.device
) -> tuple[Tensor, Alive]:
    """Return the columns `KNOWN` of each module, [S, K], and which of its units are alive."""
    table = torch.full((len(modules), len(KNOWN)), NULL, dtype=torch.float64, device=device)
    alive: Alive = {}
    for index in sorted({call.index for call in calls}):
        mine = [call for call in calls if call.index == index]
        rows = torch.stack([_row(call, device) for call in mine])
        table[index] = rows[0] if len(rows) == 1 else pooled(rows)
        found = [call.alive_U for call in mine if call.alive_U is not None]
        if found and len({each.shape for each in found}) == 1:
            alive[index] = torch.stack(found).amax(0).double().to(device)
    return table, alive


def _row(call: Call, device: torch.device) -> Tensor:
    """Return a call's numbers in the order of `KNOWN`."""
    values = [call.known.get(name, NULL) for name in KNOWN]
    row = torch.stack([torch.as_tensor(v, dtype=torch.float64, device=device) for v in values])
    if call.scale is not None:
        row[SCALED] = ratio(row[SCALED], call.scale.to(device).double())
    return row


def _dead(alive: Alive, like_S: Tensor) -> Tensor:
    """Return the share of each module's units whose phi' is 0 for the whole batch."""
    out = torch.full_like(like_S, NULL)
    for index, alive_U in alive.items():
        out[index] = (alive_U == 0).double().mean()
    return out


def _weights(
    modules: Sequence[WatchedModule], found: WatchedStep, device: torch.device
) -> dict[str, Tensor]:
    names = ("weight_grad_norm", "bias_grad_norm", "weight_norm", "update_ratio", "weight_count")
    names += ("unit_spread", "grad_zeros", "grad_nonfinite")
    rows = [_of_module(watched, found) for watched in modules]
    return {
        name: torch.stack(
            [
                torch.as_tensor(row.get(name, NULL), dtype=torch.float64, device=device)
                for row in rows
            ]
        )
        for name in names
    }


def _of_module(watched: WatchedModule, found: WatchedStep) -> dict[str, Tensor | float]:
    weights, biases = watched.all_weights(), watched.all_biases()
    count = float(sum(p.numel() for p in weights))
    out: dict[str, Tensor | float] = {"weight_count": count if weights else NULL}
    size = [found.weights.norms[id(p)] for p in weights if id(p) in found.weights.norms]
    if size:
        out["weight_norm"] = _root(size)
    learning = [id(p) for p in weights if id(p) in found.weights.moved]
    if learning:
        steps = _root([found.weights.moved[key] for key in learning])
        out["update_ratio"] = ratio(steps, _root([found.weights.norms[key] for key in learning]))
    readings = [found.readings[id(p)] for p in weights if id(p) in found.readings]
    if readings:
        out |= _of_gradients(readings, count, watched.units_second)
    pulled = [found.readings[id(p)].norm for p in biases if id(p) in found.readings]
    if pulled:
        out["bias_grad_norm"] = _root(pulled)
    return out


def _of_gradients(
    readings: Sequence[Reading], count: float, units_second: bool
) -> dict[str, Tensor | float]:
    zeros = [r.zeros for r in readings if r.zeros is not None]
    bad = [r.nonfinite for r in readings if r.nonfinite is not None]
    out: dict[str, Tensor | float] = {"weight_grad_norm": _root([r.norm for r in readings])}
    if zeros and bad:
        out["grad_zeros"] = _together(zeros).sum() / count
        out["grad_nonfinite"] = _together(bad).sum() / count
    spread = readings[0].spread
    if len(readings) == 1 and spread is not None:  # units of several weights are not the same
        out["unit_spread"] = spread[units_second]
    return out


def _whole(found: WatchedStep, device: torch.device) -> Tensor:
    """Return the norm of the whole gradient before clipping, and what clipping left of it."""
    held = {id(p) for optimizer in found.stepped for p in parameters_of(optimizer)}
    before = {key: reading.norm for key, reading in found.readings.items() if key in held}
    if not before:
        return torch.full((2,), NULL, dtype=torch.float64, device=device)
    size = _root(list(before.values()))
    left = _root([found.clipped.get(key, size_) for key, size_ in before.items()])
    factor = torch.where(size > 0, left / size, 1.0) if found.clipped else torch.ones_like(size)
    return torch.stack([size, factor]).to(device)


def _root(sizes: Sequence[Tensor]) -> Tensor:
    return sizes[0] if len(sizes) == 1 else norm(_together(sizes), 0)


def _together(sizes: Sequence[Tensor]) -> Tensor:
    """Return sizes of parameters, which may lie on several devices, as one tensor."""
    return torch.stack([size.to(sizes[0].device) for size in sizes])
