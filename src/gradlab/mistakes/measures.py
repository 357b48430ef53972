"""Measurements of a program while it trains; each returns one number."""

from itertools import cycle, islice
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.mistakes.building_blocks import LR, MAX_NORM, digits_dataset
from gradlab.mistakes.mistake import Program, Symptom

THREE_EPOCHS = 66  # steps; the digits have 22 batches of 64


def train(program: Program, steps: int) -> list[float]:
    """Train for a number of steps, batch after batch, and return the losses."""
    losses: list[Tensor] = []
    for batch in islice(cycle(program.batches), steps):
        loss = program.step(program.model, program.optimizer, batch)
        assert loss is not None, "expected a step that returns its loss"
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def measure_accuracy(program: Program, steps: int = THREE_EPOCHS) -> Symptom:
    """Train, and return the fraction of correctly classified held-out digits."""
    train(program, steps)
    data = digits_dataset()
    program.model.eval()
    with torch.no_grad():
        predicted = program.model(data.x_test.float()).argmax(1)
    correct = (predicted == data.y_test).double().mean()
    return Symptom(f"held-out accuracy after {steps} steps", 100 * float(correct), "%")


def measure_last_loss(program: Program, steps: int = THREE_EPOCHS, last: int = 10) -> Symptom:
    """Train, and return the mean loss of the last steps.

    Args:
        program: the program.
        steps: the number of steps.
        last: the number of losses in the mean.

    Returns:
        The mean loss.
    """
    losses = train(program, steps)[-last:]
    return Symptom(f"loss, mean of steps {steps - last + 1} to {steps}", fmean(losses))


def measure_moved_weights(program: Program, steps: int = 5) -> Symptom:
    """Train, and return the fraction of weight tensors that change.

    The weight tensors are the model's parameters and all other leaves of the loss's graph.

    Returns:
        The fraction of weight tensors that change.
    """
    first = program.step(program.model, program.optimizer, program.batches[0])
    weights = {id(w): w for w in [*program.model.parameters(), *loss_weights(first)]}.values()
    before = [w.detach().clone() for w in weights]
    train(program, steps)
    changed = [not torch.equal(w, old) for w, old in zip(weights, before, strict=True)]
    return Symptom("weight arrays that training moves", 100 * fmean(changed), "%")


def loss_weights(loss: Tensor | None) -> list[Tensor]:
    """Return the leaves of a loss's graph: the weights that it was computed from."""
    return [node.variable for node in graph_nodes(loss) if hasattr(node, "variable")]


def graph_nodes(loss: Tensor | None) -> list[Any]:
    """Return all nodes of a loss's graph."""
    seen: dict[Any, None] = {}
    waiting = [] if loss is None or loss.grad_fn is None else [loss.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += [other for other, _ in node.next_functions if other is not None]
    return [*seen]


def gradient_norm(model: nn.Module) -> float:
    """Return the norm of the gradient of all parameters together."""
    grads = [w.grad.flatten() for w in model.parameters() if w.grad is not None]
    return float(torch.cat(grads).norm()) if grads else 0.0


def longest_update(program: Program, steps: int, unit: float) -> float:
    """Train, and return the norm of the longest update of all weights together.

    Args:
        program: the program.
        steps: the number of steps.
        unit: the norm is divided by it.

    Returns:
        The largest norm of an update.
    """
    longest = 0.0
    for batch in islice(cycle(program.batches), steps):
        before = nn.utils.parameters_to_vector(program.model.parameters()).detach()
        program.step(program.model, program.optimizer, batch)
        after = nn.utils.parameters_to_vector(program.model.parameters()).detach()
        longest = max(longest, float((after - before).norm()) / unit)
    return longest


def measure_slope(program: Program, length: float = 1e-5) -> float:
    """Return the slope of the loss along the computed gradient, over the gradient's norm.

    The slope is a central difference, so a correct gradient gives 1, up to length². The learning
    rate is set to 0, so that a step does not change the weights.
    """
    for group in program.optimizer.param_groups:
        group["lr"] = 0.0
    weights = list(program.model.parameters())
    program.step(program.model, program.optimizer, program.batches[0])
    grads = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]
    norm = gradient_norm(program.model)

    def loss_at(distance: float) -> float:
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w += distance / norm * g
        return train(program, 1)[0]

    ahead, behind = loss_at(length), loss_at(-2 * length)
    return (ahead - behind) / (2 * length) / norm


def measure_finite_weights(program: Program, steps: int = 5) -> Symptom:
    """Train, and return the fraction of weights that are finite."""
    train(program, steps)
    weights = nn.utils.parameters_to_vector(program.model.parameters()).detach()
    value = 100 * float(weights.isfinite().double().mean())
    return Symptom(f"weights that are finite after {steps} steps", value, "%")


def measure_longest_update(program: Program) -> Symptom:
    """Return the longest of ten updates; with plain SGD and clipped gradients it is at most 1."""
    value = longest_update(program, 10, unit=LR * MAX_NORM)
    return Symptom("longest update, in units of learning rate × max_norm", value)
