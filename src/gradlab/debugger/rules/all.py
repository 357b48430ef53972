"""All rules that need no experiment, in the order in which their findings are told."""

from collections.abc import Callable

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules.clipping import clipping
from gradlab.debugger.rules.failures import number, overwritten, used_twice
from gradlab.debugger.rules.losses import (
    broadcast,
    labels,
    logarithms,
    sigmoid_bce,
    squashed_twice,
)
from gradlab.debugger.rules.modes import evaluation, memory
from gradlab.debugger.rules.path import cut, written
from gradlab.debugger.rules.schedule import schedule
from gradlab.debugger.rules.units import dead, symmetry, too_large
from gradlab.debugger.rules.updates import accumulation, no_zero_grad, zero_grad_too_late
from gradlab.debugger.rules.weights import frozen, missing

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
