"""What is measured of a practice while it trains: one number, by the same code for both forms."""

from itertools import cycle, islice
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.mistakes.material import LR, MAX_NORM, the_digits
from gradlab.mistakes.mistake import Practice, Symptom

THREE_EPOCHS = 66  # steps: the digits are 22 batches of 64


def train(practice: Practice, steps: int) -> list[float]:
    """Make so many updates, batch after batch; return the losses."""
    losses: list[Tensor] = []
    for batch in islice(cycle(practice.batches), steps):
        loss = practice.step(practice.model, practice.optimizer, batch)
        assert loss is not None, "the practices of the catalogue return their loss"
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def accuracy(practice: Practice, steps: int = THREE_EPOCHS) -> Symptom:
    """Return the share of held-out digits that are read rightly after training."""
    train(practice, steps)
    data = the_digits()
    practice.model.eval()
    with torch.no_grad():
        said = practice.model(data.x_test.float()).argmax(1)
    right = (said == data.y_test).double().mean()
    return Symptom(f"held-out accuracy after {steps} steps", 100 * float(right), "%")


def last_loss(practice: Practice, steps: int = THREE_EPOCHS, last: int = 10) -> Symptom:
    """Return the mean loss of the last steps of training."""
    losses = train(practice, steps)[-last:]
    return Symptom(f"loss, mean of steps {steps - last + 1} to {steps}", fmean(losses))


def moved(practice: Practice, steps: int = 5) -> Symptom:
    """Return the share of weight arrays, the model's and the loss's, that a few steps change."""
    first = practice.step(practice.model, practice.optimizer, practice.batches[0])
    weights = {id(w): w for w in [*practice.model.parameters(), *leaves(first)]}.values()
    before = [w.detach().clone() for w in weights]
    train(practice, steps)
    changed = [not torch.equal(w, old) for w, old in zip(weights, before, strict=True)]
    return Symptom("weight arrays that training moves", 100 * fmean(changed), "%")


def leaves(loss: Tensor | None) -> list[Tensor]:
    """Return the weights that a loss was computed from, as far as its graph leads."""
    return [node.variable for node in graph(loss) if hasattr(node, "variable")]


def graph(loss: Tensor | None) -> list[Any]:
    """Return the nodes of a loss's graph."""
    seen: dict[Any, None] = {}
    waiting = [] if loss is None or loss.grad_fn is None else [loss.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += [other for other, _ in node.next_functions if other is not None]
    return [*seen]


def grad_norm(model: nn.Module) -> float:
    """Return the norm of all gradients of a model together."""
    grads = [w.grad.flatten() for w in model.parameters() if w.grad is not None]
    return float(torch.cat(grads).norm()) if grads else 0.0


def longest_update(practice: Practice, steps: int, unit: float) -> float:
    """Return the longest update of all weights together that a step makes, in a unit."""
    longest = 0.0
    for batch in islice(cycle(practice.batches), steps):
        before = nn.utils.parameters_to_vector(practice.model.parameters()).detach()
        practice.step(practice.model, practice.optimizer, batch)
        after = nn.utils.parameters_to_vector(practice.model.parameters()).detach()
        longest = max(longest, float((after - before).norm()) / unit)
    return longest


def slope(practice: Practice, length: float = 1e-5) -> float:
    """Return how fast the loss rises along its gradient, in units of the gradient's norm.

    The learning rate is set to 0, so that a step gives the loss and the gradient at the weights and
    leaves them. It is a central difference: 1 if the gradient is that of the loss, up to length².
    """
    for group in practice.optimizer.param_groups:
        group["lr"] = 0.0
    weights = list(practice.model.parameters())
    practice.step(practice.model, practice.optimizer, practice.batches[0])
    grads = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]
    norm = grad_norm(practice.model)

    def loss_at(distance: float) -> float:
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w += distance / norm * g
        return train(practice, 1)[0]

    ahead, behind = loss_at(length), loss_at(-2 * length)
    return (ahead - behind) / (2 * length) / norm


def finite(practice: Practice, steps: int = 5) -> Symptom:
    """Return the share of weights that are finite numbers after a few steps."""
    train(practice, steps)
    weights = nn.utils.parameters_to_vector(practice.model.parameters()).detach()
    value = 100 * float(weights.isfinite().double().mean())
    return Symptom(f"weights that are finite after {steps} steps", value, "%")


def longest_of_clipped(practice: Practice) -> Symptom:
    """Return the longest of ten updates; plain descent along a clipped gradient makes at most 1."""
    value = longest_update(practice, 10, unit=LR * MAX_NORM)
    return Symptom("longest update, in units of learning rate × max_norm", value)
