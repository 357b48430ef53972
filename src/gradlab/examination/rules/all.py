"""All rules that need no experiment, in the order in which their findings are told."""

from collections.abc import Callable

from gradlab.examination.finding import Finding
from gradlab.examination.rules.clipping import clipping
from gradlab.examination.rules.failures import number, overwritten, used_twice
from gradlab.examination.rules.losses import (
    broadcast,
    labels,
    logarithms,
    sigmoid_bce,
    squashed_twice,
)
from gradlab.examination.rules.modes import evaluation, memory
from gradlab.examination.rules.path import cut, written
from gradlab.examination.rules.schedule import schedule
from gradlab.examination.rules.units import dead, symmetry, too_large
from gradlab.examination.rules.updates import accumulation, no_zero_grad, zero_grad_too_late
from gradlab.examination.rules.weights import frozen, missing
from gradlab.examination.trace import Trace

RULES: tuple[Callable[[Trace], list[Finding]], ...] = (
    no_zero_grad,
    zero_grad_too_late,
    accumulation,
    clipping,
    schedule,
    missing,
    frozen,
    cut,
    written,
    overwritten,
    used_twice,
    number,
    squashed_twice,
    sigmoid_bce,
    logarithms,
    broadcast,
    labels,
    evaluation,
    memory,
    symmetry,
    dead,
    too_large,
)
