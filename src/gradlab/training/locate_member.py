"""Locate the operation at which a member of a stack became inf or NaN, by repeating its step."""

import copy
import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradlab.models.feedforward import Layer
from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.guard import NonfiniteGuard
from gradlab.training.stack import Stack

log = logging.getLogger(__name__)


def locate_member(
    stack: Stack, member: int, x_1BF: Tensor, y_1B: Tensor, step: int
) -> Fault | None:
    """Repeat the forward and backward pass of one member in a copy of its network.

    Args:
        stack: The stack. The member has the parameters before the update.
        member: Index of the member.
        x_1BF: Samples of its batch.
        y_1B: Targets of its batch.
        step: Number of the step.

    Returns:
        The fault, with the layer and the operation; None if every loss and gradient of the repeated
        step is finite, as before an update that is not, or if the step cannot be repeated.
    """
    failures: list[Exception] = []
    try:
        model = _network_of(stack, member)
        guard = NonfiniteGuard(
            lambda: dict(model.named_parameters()),
            lambda: _layer_names(model),
            lambda: step,
            on_failure=failures.append,
        )
        with torch.enable_grad(), guard.observe(model.modules()):
            loss = stack.loss(model(x_1BF[0]), y_1B[0])
            (loss * stack.scales[member]).to(loss.dtype).backward()
    except Exception as error:  # a network of the user may refuse a copy
        failures.append(error)
        guard = None
    if failures:
        log.info("the operation is unknown, because the step cannot be repeated: %s", failures[0])
    if guard is None or not guard.faults:
        return None
    fault = guard.faults[0]
    if type(stack.model).__module__.startswith("gradlab."):  # the layer is enough
        return replace(fault, line="", code="", stack=())
    return fault


def _network_of(stack: Stack, member: int) -> nn.Module:
    """Return a copy of the network of a member."""
    model = copy.deepcopy(stack.model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.data = stack.params[name][member].clone()
            p.grad = None
        for name, buffer in model.named_buffers():
            buffer.copy_(stack.buffers[name][member])
    return model


def _layer_names(model: nn.Module) -> dict[int, str]:
    """Return the names of modules by id; a part of a layer has the name of the layer."""
    names: dict[int, str] = {}
    for name, module in model.named_modules():
        names.setdefault(id(module), name or "model")
        if isinstance(module, Layer):
            names |= {id(part): name for part in module.modules()}
    return names
