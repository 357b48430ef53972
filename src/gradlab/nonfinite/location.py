"""Locate the origin of a number that is not finite, by repeating the step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from gradlab.nonfinite.explanations import explain, number, shown_name, usual_name
from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.operations import Operation, Origin
from gradlab.nonfinite.recorded_calls import RecordedCall, calls_of
from gradlab.nonfinite.replay import Replay, replay
from gradlab.nonfinite.tensor_range import all_finite, first_nonfinite_index, range_of_tensor
from gradlab.nonfinite.user_code import CodeLine, Place, innermost


@dataclass(frozen=True)
class Trained:
    """The tensors and modules of a training.

    Attributes:
        parameters: The trained parameters, by name.
        modules: Names of modules, by id.
        optimizers: The optimisers that have stepped.
        places: The line of the last optimiser's step.
    """

    parameters: Mapping[str, Tensor]
    modules: Mapping[int, str] = field(default_factory=dict[int, str])
    optimizers: Sequence[Optimizer] = ()
    places: tuple[Place, ...] = ()


def locate(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    trained: Trained,
    step: int,
    effect: str,
    on_replay: Callable[[Replay], None] | None = None,
) -> Fault | None:
    """Locate the origin of a loss or a gradient that is not finite.

    Args:
        roots: The tensors on which `backward` is called.
        grads: The gradients from which it starts.
        trained: The tensors and modules of the training.
        step: Number of optimiser steps before.
        effect: The consequence, as `the loss is NaN`.
        on_replay: Receives the repeated step with all its operations.

    Returns:
        The fault; None if every number of the repeated step is finite.
    """
    parameters, shown = [*trained.parameters.values()], on_replay is not None
    result = replay(roots, grads, parameters, trained.modules, with_operations=shown)
    if on_replay is not None:
        on_replay(result)
    origin = result.origin
    if origin is None:
        return None
    if origin.escape is not None:
        fault = fault_of_operation(origin.escape, result, step, effect)
        return replace(fault, reason=_written(origin), remedy="")
    if origin.operation is None:
        return _fault_of_tensor(origin, calls_of(roots), trained, step, effect, result)
    return fault_of_operation(origin.operation, result, step, effect)


def concerns(roots: Sequence[Tensor], trained: Trained) -> bool:
    """Return whether some tensors were computed by the training's modules or parameters.

    Tensors without a recorded call may have been.
    """
    calls = calls_of(roots)
    parameters = {id(p) for p in trained.parameters.values()}
    return not calls or any(id(p) in parameters for call in calls for p in _tensors_of(call))


def _tensors_of(call: RecordedCall) -> Iterator[Tensor]:
    """Yield the arguments of a call, and the parameters of a called module."""
    yield from (each.value for each in call.arguments())
    if isinstance(call.function, nn.Module):
        yield from call.function.parameters()


def fault_of_operation(operation: Operation, result: Replay, step: int, effect: str) -> Fault:
    """Return the fault for the operation that made a number inf or NaN."""
    hidden = result.in_backward and not operation.backward
    explanation = explain(operation, hidden)
    line = innermost(operation.places)
    return Fault(
        step,
        "hidden" if hidden else "backward" if operation.backward else "forward",
        effect,
        shown_name(operation),
        "" if line is None else str(line),
        "" if line is None else line.code,
        operation.module,
        operation.call,
        explanation.received,
        explanation.reason,
        explanation.remedy,
        tuple(str(CodeLine(*place)) for place in operation.places),
        result.exact,
    )


def _written(origin: Origin) -> str:
    """Return a clause about a value that the program wrote on purpose."""
    written = origin.operation
    if written is None:
        return "its input contains inf, which comes from outside of the step"
    line = innermost(written.places)
    return f"its input contains inf, which `{usual_name(written.name)}` wrote at {line}"


def _fault_of_tensor(
    origin: Origin,
    calls: Sequence[RecordedCall],
    trained: Trained,
    step: int,
    effect: str,
    result: Replay,
) -> Fault:
    """Return the fault for a tensor that was not finite before the step."""
    tensor = origin.tensor
    assert tensor is not None
    for name, p in trained.parameters.items():
        if p is tensor or (p.data_ptr() == tensor.data_ptr() and p.numel() == tensor.numel()):
            return fault_of_parameter(name, p, trained, step, effect)
    name = _describe_tensor(tensor)
    for call in calls:
        for each in call.arguments():
            same = each.value.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
            if same and not all_finite(each.value):
                line = innermost(call.places)
                is_module = isinstance(call.function, nn.Module)
                label = trained.modules.get(id(call.function)) if is_module else None
                callee = label or getattr(call.function, "__name__", type(call.function).__name__)
                return Fault(
                    step, "data", effect, callee, "" if line is None else str(line),
                    "" if line is None else line.code, None, 1,
                    f"the input of `{callee}` {_describe_tensor(each.value)}",
                    "the batch itself is not finite",
                    "remove or replace such values when the data is loaded",
                    tuple(str(CodeLine(*place)) for place in call.places), result.exact,
                )  # fmt: skip
    return Fault(step, "data", effect, received=f"a tensor {name}", exact=result.exact)


def _describe_tensor(x: Tensor) -> str:
    """Return a clause: `contains 3 NaN; the first at index (17, 2)`."""
    ranged, index = range_of_tensor(x.detach()), first_nonfinite_index(x.detach())
    pairs = ((ranged.nans, "NaN"), (ranged.infs, "inf"), (ranged.negative_infs, "-inf"))
    counts = " and ".join(f"{count} {name}" for count, name in pairs if count)
    return f"contains {counts}; the first at index {index}"


def fault_of_parameter(name: str, p: Tensor, trained: Trained, step: int, effect: str) -> Fault:
    """Return the fault for a parameter that an update has made inf or NaN.

    Args:
        name: Its name.
        p: The parameter.
        trained: The tensors and modules of the training.
        step: Number of optimiser steps so far; the last of them made the update.
        effect: The consequence.

    Returns:
        The fault. Its step is the step of the update.
    """
    bad = ~torch.isfinite(p.detach())
    share = f"{int(bad.sum())} of {p.numel()} entries of the parameter `{name}`"
    if not step:
        return Fault(
            0, "update", effect, name, received=f"{share} are not finite before the first step"
        )
    owner = next((o for o in trained.optimizers if any(p is q for q in _parameters(o))), None)
    rule = "the optimiser" if owner is None else type(owner).__name__
    reason, remedy = ("", "") if owner is None else _arithmetic(p, owner, bad)
    line = innermost(trained.places)
    return Fault(
        step - 1, "update", effect, rule, "" if line is None else str(line),
        "" if line is None else line.code,
        received=f"the update of {rule} makes {share} NaN or inf", reason=reason, remedy=remedy,
    )  # fmt: skip


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _arithmetic(p: Tensor, optimizer: Optimizer, bad: Tensor) -> tuple[str, str]:
    """Explain why an update is not finite although the gradient was.

    Args:
        p: The parameter, after the update.
        optimizer: Its optimiser.
        bad: Which entries are not finite.

    Returns:
        The reason and the remedy; empty if the state of the optimiser shows none.
    """
    group = next(g for g in optimizer.param_groups if any(p is q for q in g["params"]))
    state, dtype = optimizer.state.get(p, {}), str(p.dtype).removeprefix("torch.")
    eps = group.get("eps")
    second = state.get("exp_avg_sq", state.get("square_avg", state.get("sum")))
    if isinstance(eps, float) and isinstance(second, Tensor) and second.shape == bad.shape:
        zero = int((second[bad] == 0).sum())
        if zero and not eps:
            return f"eps is 0, and the squared gradient of {zero} entries is 0", "eps=1e-8"
        if zero and float(torch.tensor(eps, dtype=second.dtype)) == 0:
            kind = str(second.dtype).removeprefix("torch.")
            return (
                f"eps={eps:g} is 0 in {kind}, and for {zero} entries the mean of the squared "
                "gradient is 0 too: the update divides by 0",
                "eps=1e-4, or weights in float32 with torch.autocast",
            )
        if not all_finite(second):
            return "the mean of the squared gradient is inf or NaN", "clip the gradient's norm"
    lr = float(group.get("lr", 0.0))
    grad = p.grad
    if grad is not None and not all_finite(grad):
        return (
            "backward() computed a finite gradient, and code between backward() and the "
            "optimiser's step made it inf or NaN",
            "torch.nn.utils.clip_grad_norm_, which divides by the norm + 1e-6",
        )
    if grad is not None and lr:
        top = float(grad.detach().abs().max()) * lr
        most = torch.finfo(p.dtype).max
        return (
            f"lr={lr:g} times a gradient of up to {number(top / lr)} is too large for {dtype}, "
            f"whose largest number is {number(most)}",
            "a smaller learning rate; torch.nn.utils.clip_grad_norm_ before optimizer.step()",
        )
    return "", ""
