"""The rules: each returns the findings of a trace, and none unless it is certain."""

from collections.abc import Callable

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules.broken_graph import (
    cut,
    evaluation,
    memory,
    overwritten,
    plain_number,
    used_twice,
    written,
)
from gradlab.debugger.rules.fixed_weights import frozen, missing
from gradlab.debugger.rules.loss_inputs import (
    broadcast,
    labels,
    logarithms,
    sigmoid_bce,
    squashed_twice,
)
from gradlab.debugger.rules.unit_states import dead, symmetry, too_large
from gradlab.debugger.rules.update_order import (
    accumulation,
    clipping,
    no_zero_grad,
    schedule,
    zero_grad_too_late,
)

RULES: tuple[Callable[[Trace], list[CodeFinding]], ...] = (
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
    plain_number,
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
"""In the order of their findings."""
