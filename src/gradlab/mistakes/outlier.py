"""Digits of which one batch is an outlier, trained with a clipped gradient."""

import torch

from gradlab.mistakes.material import digits_batches, small_net
from gradlab.mistakes.measures import longest_update
from gradlab.mistakes.mistake import Practice, Step, Symptom

LR, MAX_NORM = 0.3, 1.0
PLACE, FACTOR = 2, 1000.0  # which batch is in the wrong unit, and by how much


def with_an_outlier(step: Step, seed: int = 0) -> Practice:
    """Return a small network for digits of which one batch is FACTOR times too bright."""
    batches = [(x.clone(), y) for x, y in digits_batches()]
    batches[PLACE][0].mul_(FACTOR)
    model = small_net(seed)
    return Practice(step, model, torch.optim.SGD(model.parameters(), lr=LR), batches)


def longest_of_clipped(practice: Practice) -> Symptom:
    """Return the longest of ten updates; plain descent along a clipped gradient makes at most 1."""
    value = longest_update(practice, 10, unit=LR * MAX_NORM)
    return Symptom("longest update, in units of learning rate × max_norm", value)
