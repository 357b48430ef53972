"""Rules for units that are equal, dead or saturated."""

from statistics import fmean, median

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import LinearCall, OptimizerStep, ReluCall, SigmoidCall
from gradlab.debugger.observe.trace import Trace

# Thresholds: the share of dead units, rms(W)·√fan_in, growth of the signal, saturated share.
DEAD, GAIN, GROWTH, SATURATED = 0.8, 2.5, 100.0, 0.5
UNITS, SAMPLES = 4, 16  # the smallest layer and the smallest number of samples
AGREE = 0.95  # agreement in direction of a gradient's rows
EQUAL = 1e-4  # relative difference of a gradient's columns; rounding is smaller


def find_equal_units(trace: Trace) -> list[CodeFinding]:
    """Find units that start equal and get parallel gradients."""
    updates, maps = trace.all(OptimizerStep), [each.weight for each in trace.all(LinearCall)]
    if len(updates) < 2:
        return []
    agree = {
        w: [each.row_agreement[w] for each in updates if w in each.row_agreement]
        for w in maps[:-1]  # not the last map: its rows may agree because the targets do
        if any(w in each.row_agreement for each in updates)
    }
    equal = {w for w, shares in agree.items() if len(shares) > 1 and min(shares) > AGREE}
    if not equal:
        return _find_constant_tables(trace, {*maps})
    first = next(w for w in trace.weights if w in equal)
    units = trace.weights[first].shape[0]
    zero = any(first in each.zero for each in updates)
    return [
        CodeFinding(
            "zero_init" if zero else "constant_init",
            "all units of a layer start and stay equal: the layer acts as one unit",
            trace.names(equal),
            f"before the first update all {units} rows of {trace.weights[first].name} are equal; "
            f"in {len(updates)} updates their gradients agree in direction by "
            f"{min(agree[first]):.3f} (1: fully)",
            "random weights, such as torch's own or nn.init.kaiming_normal_; zeros only for biases",
        )
    ]


def _find_constant_tables(trace: Trace, mapped: set[int]) -> list[CodeFinding]:
    """Find a table whose columns start equal and get equal gradients."""
    updates = trace.all(OptimizerStep)
    spreads = {
        w: [each.column_spread[w] for each in updates if w in each.column_spread]
        for w in trace.weights
        if w not in mapped  # the inputs of a linear map may be equal
    }
    equal = {w for w, far in spreads.items() if len(far) > 1 and max(far) < EQUAL}
    if not equal:
        return []
    first = next(w for w in trace.weights if w in equal)
    name, columns = trace.weights[first].name, trace.weights[first].shape[1]
    return [
        CodeFinding(
            "constant_init",
            "all columns of a table start and stay equal: the table acts as one column",
            trace.names(equal),
            f"before the first update all entries of {name} are equal; at {len(spreads[first])} "
            f"updates the gradients of its {columns} columns are equal",
            "random weights, such as torch's own or nn.init.normal_",
        )
    ]


def find_dead_units(trace: Trace) -> list[CodeFinding]:
    """Find ReLUs whose units are 0 for all samples."""
    groups: dict[tuple[object, ...], list[ReluCall]] = {}
    times: dict[tuple[object, ...], int] = {}
    for each in trace.all(ReluCall):
        at = (each.key, each.step)
        times[at] = times.get(at, 0) + 1
        groups.setdefault((each.key, times[at], each.units), []).append(each)
    for calls in groups.values():
        units = frozenset.intersection(*(each.dead for each in calls))
        first, samples = calls[0], sum(each.samples for each in calls)
        if first.units < UNITS or samples < SAMPLES or len(units) < DEAD * first.units:
            continue
        reason = ""
        if first.bias is not None and first.spread is not None and first.bias < 0:
            reason = f"; their mean bias is {first.bias:.3g}, and their pre-activations vary by "
            reason += f"{first.spread:.2g}"
        return [
            CodeFinding(
                "dying_relu",
                "ReLU is 0 for every sample: these units get no gradient and cannot recover",
                f"{first.line}: {first.line.code}",
                f"{len(units)} of {first.units} units gave 0 for all {samples} samples{reason}",
                "start the biases at 0; use a smaller learning rate; or use LeakyReLU",
            )
        ]
    return []


def find_large_weights(trace: Trace) -> list[CodeFinding]:
    """Find weights that make the signal grow from layer to layer, or saturate the units."""
    maps = [*{each.weight: each for each in reversed(trace.all(LinearCall))}.values()][::-1]
    if len(maps) < 3 or median(each.gain for each in maps) < GAIN:
        return []
    growth = maps[-1].rms_out / maps[0].rms_in if maps[0].rms_in else 0.0
    shares = [each.saturated for each in trace.all(SigmoidCall)]
    saturated = fmean(shares) if len(shares) > 1 else 0.0
    if not growth > GROWTH and saturated < SATURATED:
        return []
    evidence = (
        f"the signal grows from {maps[0].rms_in:.2g} to {maps[-1].rms_out:.2g} (rms) over "
        f"{len(maps)} linear maps"
        if growth > GROWTH
        else f"{saturated:.0%} of the units' outputs are saturated"
    )
    return [
        CodeFinding(
            "large_weights",
            "the weights are too large for the depth",
            trace.names({each.weight for each in maps}),
            f"{evidence}; rms(W) sqrt(fan_in) is {median(each.gain for each in maps):.2g} "
            "(median), where ReLU preserves a signal at 1.4 and tanh at 1",
            "nn.init.kaiming_normal_ for ReLU, nn.init.xavier_normal_ for tanh and sigmoid",
        )
    ]
