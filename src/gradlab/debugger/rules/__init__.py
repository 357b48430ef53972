"""The rules: each reads a trace and returns findings, only if it is certain."""

from collections.abc import Callable

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.trace import Trace
from gradlab.debugger.rules.broken_graph import (
    find_cut_paths,
    find_evaluation_mode,
    find_in_place_changes,
    find_plain_numbers,
    find_reused_graphs,
    find_stored_graphs,
    find_writes_past_autograd,
)
from gradlab.debugger.rules.fixed_weights import find_frozen_layers, find_missing_parameters
from gradlab.debugger.rules.loss_inputs import (
    find_broadcast_targets,
    find_logarithms_of_zero,
    find_probabilities_as_logits,
    find_rounded_sigmoids,
    find_shifted_labels,
)
from gradlab.debugger.rules.unit_states import find_dead_units, find_equal_units, find_large_weights
from gradlab.debugger.rules.update_order import (
    find_discarded_gradients,
    find_early_schedules,
    find_misplaced_clipping,
    find_uncleared_gradients,
    find_undivided_accumulation,
)

RULES: tuple[Callable[[Trace], list[CodeFinding]], ...] = (
    find_uncleared_gradients,
    find_discarded_gradients,
    find_undivided_accumulation,
    find_misplaced_clipping,
    find_early_schedules,
    find_missing_parameters,
    find_frozen_layers,
    find_cut_paths,
    find_writes_past_autograd,
    find_in_place_changes,
    find_reused_graphs,
    find_plain_numbers,
    find_probabilities_as_logits,
    find_rounded_sigmoids,
    find_logarithms_of_zero,
    find_broadcast_targets,
    find_shifted_labels,
    find_evaluation_mode,
    find_stored_graphs,
    find_equal_units,
    find_dead_units,
    find_large_weights,
)
"""All rules, in the order of their findings."""
