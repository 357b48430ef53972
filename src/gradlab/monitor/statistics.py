"""Compute the rows of a recorded step in one tensor, which leaves the device once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.monitor.calls import Call
from gradlab.monitor.combine import (
    CALL_COLUMNS,
    GRADIENT_INDICES,
    Alive,
    combine_calls,
    combine_ranks,
)
from gradlab.monitor.optimizers import parameters_of
from gradlab.monitor.watched_modules import WatchedModule
from gradlab.monitor.watched_step import Reading, WatchedStep
from gradlab.recording.columns import columns_from, is_null, ratio
from gradlab.recording.norms import norm
from gradlab.recording.rows import NULL, Rows, layer_rows, step_rows

PARAMETER_COLUMNS = (
    "weight_grad_norm",
    "bias_grad_norm",
    "weight_norm",
    "update_ratio",
    "weight_count",
    "unit_spread",
    "grad_zeros",
    "grad_nonfinite",
)


def measure(
    modules: Sequence[WatchedModule], step: WatchedStep, ranks: int
) -> tuple[Tensor, Tensor]:
    """Compute the columns of a recorded step of a watched network.

    Args:
        modules: The watched modules.
        step: The step.
        ranks: Number of processes that average their gradients.

    Returns:
        The columns of `schema.STATISTICS` for each module, [S, C], and the columns of
        `schema.STEPS` from loss to descent, [1, 5]. Both are float64 on the CPU, and `NULL` where
        not measured.
    """
    device = next((r.norm.device for r in step.readings.values()), torch.device("cpu"))
    numbers_SK, alive = _combine_module_calls(modules, step.calls, device)
    loss = sum_losses(step.losses, device)
    numbers_SK, alive, loss = combine_ranks(numbers_SK, alive, loss, ranks)
    column = {name: numbers_SK[:, k] for k, name in enumerate(CALL_COLUMNS)}
    delta, act_grad = column["delta"], column["act_grad"]
    direct = is_null(column["preact_grad"])  # the activation's input is the module's output
    norm_factor = torch.where(direct, 1.0, ratio(delta, column["preact_grad"]))
    table = columns_from(
        {
            "delta_norm": delta,
            "act_grad_norm": act_grad,
            "preact_grad": torch.where(direct, delta, column["preact_grad"]),
            "back": column["back"],
            "norm_factor": torch.where(is_null(act_grad), NULL, norm_factor),
            **{name: column[name] for name in ("preact_mean", "preact_std")},
            **{name: column[name] for name in ("act_mean", "act_std")},
            "saturated": column["saturated"],
            "dead": _share_dead(alive, delta),
            **_measure_parameters(modules, step, device),
        }
    )
    of_step = torch.full((5,), NULL, dtype=torch.float64, device=device)
    of_step[0] = loss
    of_step[2:4] = _norm_and_clip_factor(step, device)
    both = torch.cat([table.flatten(), of_step]).cpu()
    return both[:-5].view(table.shape), both[None, -5:]


def make_rows(
    step: WatchedStep, names: Sequence[str], layers_SC: Tensor, of_step: Tensor, seconds: float
) -> Rows:
    """Make the rows of a recorded step.

    Args:
        step: The step.
        names: Names of the modules, the first layer first.
        layers_SC: The columns of each module from `measure`, in the order of `names`.
        of_step: The columns of the step from `measure`.
        seconds: Time since the start of the record.

    Returns:
        One row of `steps.parquet`, and one row of `layers.parquet` for each module.
    """
    keys = [("depth", position, name) for position, name in enumerate(names, start=1)]
    return Rows(
        step_rows([step.index], [step.lr], [seconds], of_step),
        layer_rows(step.index, keys, layers_SC),
    )


def sort_by_depth(count: int, called: Sequence[int]) -> list[int]:
    """Return the indices of all modules, the first layer first.

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


def sum_losses(losses: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return the sum over a step's backward passes; null if none began at a scalar."""
    if not losses:
        return torch.full((), NULL, dtype=torch.float64, device=device)
    return torch.stack([loss.reshape(()).double().to(device) for loss in losses]).sum()


def _combine_module_calls(
    modules: Sequence[WatchedModule], calls: Sequence[Call], device: torch.device
) -> tuple[Tensor, Alive]:
    """Combine the calls of each module.

    Args:
        modules: The watched modules.
        calls: All calls of the step.
        device: Device of the result.

    Returns:
        The columns `CALL_COLUMNS` of each module, [S, K], float64; and the alive units.
    """
    table = torch.full((len(modules), len(CALL_COLUMNS)), NULL, dtype=torch.float64, device=device)
    alive: Alive = {}
    for index in sorted({call.index for call in calls}):
        of_module = [call for call in calls if call.index == index]
        rows = torch.stack([_row(call, device) for call in of_module])
        table[index] = rows[0] if len(rows) == 1 else combine_calls(rows)
        units = [call.alive_U for call in of_module if call.alive_U is not None]
        if units and len({alive_U.shape for alive_U in units}) == 1:
            alive[index] = torch.stack(units).amax(0).double().to(device)
    return table, alive


def _row(call: Call, device: torch.device) -> Tensor:
    """Return a call's numbers in the order of `CALL_COLUMNS`, without the loss scale."""
    values = [call.numbers.get(name, NULL) for name in CALL_COLUMNS]
    row = torch.stack([torch.as_tensor(v, dtype=torch.float64, device=device) for v in values])
    if call.scale is not None:
        row[GRADIENT_INDICES] = ratio(row[GRADIENT_INDICES], call.scale.to(device).double())
    return row


def _share_dead(alive: Alive, like_S: Tensor) -> Tensor:
    """Return the share of each module's units whose phi' is 0 for the whole batch."""
    out = torch.full_like(like_S, NULL)
    for index, alive_U in alive.items():
        out[index] = (alive_U == 0).double().mean()
    return out


def _measure_parameters(
    modules: Sequence[WatchedModule], step: WatchedStep, device: torch.device
) -> dict[str, Tensor]:
    """Compute the columns that depend on parameters.

    Args:
        modules: The watched modules.
        step: The step.
        device: Device of the result.

    Returns:
        The columns [S], float64, keyed by name.
    """
    rows = [_measure_module(watched, step) for watched in modules]
    return {
        name: torch.stack(
            [
                torch.as_tensor(row.get(name, NULL), dtype=torch.float64, device=device)
                for row in rows
            ]
        )
        for name in PARAMETER_COLUMNS
    }


def _measure_module(watched: WatchedModule, step: WatchedStep) -> dict[str, Tensor | float]:
    weights, biases = watched.all_weights(), watched.all_biases()
    count = float(sum(p.numel() for p in weights))
    out: dict[str, Tensor | float] = {"weight_count": count if weights else NULL}
    norms = [step.weights.norms[id(p)] for p in weights if id(p) in step.weights.norms]
    if norms:
        out["weight_norm"] = norm_of_readings(norms)
    trained = [id(p) for p in weights if id(p) in step.weights.moved]
    if trained:
        moved = norm_of_readings([step.weights.moved[key] for key in trained])
        before = norm_of_readings([step.weights.norms[key] for key in trained])
        out["update_ratio"] = ratio(moved, before)
    readings = [step.readings[id(p)] for p in weights if id(p) in step.readings]
    if readings:
        out |= _measure_gradients(readings, count, watched.has_units_second)
    bias_norms = [step.readings[id(p)].norm for p in biases if id(p) in step.readings]
    if bias_norms:
        out["bias_grad_norm"] = norm_of_readings(bias_norms)
    return out


def _measure_gradients(
    readings: Sequence[Reading], count: float, has_units_second: bool
) -> dict[str, Tensor | float]:
    """Compute the columns of a module's weight gradients.

    Args:
        readings: The numbers of each weight's gradient.
        count: Number of entries of all weights.
        has_units_second: Whether the units are the second dimension of the weight.

    Returns:
        The numbers, keyed by column.
    """
    zeros = [r.zeros for r in readings if r.zeros is not None]
    nonfinite = [r.nonfinite for r in readings if r.nonfinite is not None]
    out: dict[str, Tensor | float] = {
        "weight_grad_norm": norm_of_readings([r.norm for r in readings])
    }
    if zeros and nonfinite:
        out["grad_zeros"] = _stack(zeros).sum() / count
        out["grad_nonfinite"] = _stack(nonfinite).sum() / count
    spread = readings[0].spread
    if len(readings) == 1 and spread is not None:  # several weights may have different units
        out["unit_spread"] = spread[has_units_second]
    return out


def _norm_and_clip_factor(step: WatchedStep, device: torch.device) -> Tensor:
    """Return the norm of the whole gradient before clipping, and the ratio after / before."""
    updated = {id(p) for optimizer in step.stepped for p in parameters_of(optimizer)}
    before = {key: reading.norm for key, reading in step.readings.items() if key in updated}
    if not before:
        return torch.full((2,), NULL, dtype=torch.float64, device=device)
    grad_norm = norm_of_readings(list(before.values()))
    clipped = norm_of_readings([step.clipped.get(key, value) for key, value in before.items()])
    factor = torch.ones_like(grad_norm)
    if step.clipped:
        factor = torch.where(grad_norm > 0, clipped / grad_norm, 1.0)
    return torch.stack([grad_norm, factor]).to(device)


def norm_of_readings(norms: Sequence[Tensor]) -> Tensor:
    """Return the norm over several parameters from the norm of each."""
    return norms[0] if len(norms) == 1 else norm(_stack(norms), 0)


def _stack(scalars: Sequence[Tensor]) -> Tensor:
    """Stack scalars of parameters, which may be on several devices."""
    return torch.stack([scalar.to(scalars[0].device) for scalar in scalars])
