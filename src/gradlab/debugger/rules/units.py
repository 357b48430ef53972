"""Units that are all alike, or all dead, and weights that are too large."""

from statistics import fmean, median

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Mapped, Rectified, Squashed, Trace, Update

DEAD, GAIN, GROWTH, FLAT = 0.8, 2.5, 100.0, 0.5
UNITS, SAMPLES = 4, 16
AGREE = 0.95  # the mean of unit vectors along the rows of a gradient, in length
EQUAL = 1e-4  # the difference of a gradient's columns over its norm: more than rounding makes of it


def symmetry(trace: Trace) -> list[Finding]:
    """Find units that start alike and are pulled in one direction."""
    updates, maps = trace.all(Update), [each.weight for each in trace.all(Mapped)]
    if len(updates) < 2:
        return []
    agree = {
        w: [each.alike[w] for each in updates if w in each.alike]
        for w in maps[:-1]  # the last one's rows may agree because its targets do
        if any(w in each.alike for each in updates)
    }
    alike = {w for w, shares in agree.items() if len(shares) > 1 and min(shares) > AGREE}
    if not alike:
        return _copies(trace, {*maps})
    first = next(w for w in trace.weights if w in alike)
    units = trace.weights[first].shape[0]
    zero = any(first in each.zero for each in updates)
    return [
        Finding(
            "zero_init" if zero else "constant_init",
            "all units of a layer start alike and stay alike: the layer is one unit wide",
            trace.names(alike),
            f"before the first update all {units} rows of {trace.weights[first].name} are equal; "
            f"in {len(updates)} updates their gradients agree in direction by "
            f"{min(agree[first]):.3f} (1: wholly)",
            "random weights, such as torch's own or nn.init.kaiming_normal_; zeros only for biases",
        )
    ]


def _copies(trace: Trace, mapped: set[int]) -> list[Finding]:
    """Find a table all of whose columns start alike and are pulled alike: each is a copy."""
    updates = trace.all(Update)
    apart = {
        w: [each.columns[w] for each in updates if w in each.columns]
        for w in trace.weights
        if w not in mapped  # what comes in there may be alike, too
    }
    alike = {w for w, far in apart.items() if len(far) > 1 and max(far) < EQUAL}
    if not alike:
        return []
    first = next(w for w in trace.weights if w in alike)
    name, columns = trace.weights[first].name, trace.weights[first].shape[1]
    return [
        Finding(
            "constant_init",
            "all columns of a table start alike and stay alike: the table is one column wide",
            trace.names(alike),
            f"before the first update {name} is one number, and in all {len(apart[first])} updates "
            f"the gradients of its {columns} columns are equal",
            "random weights, such as torch's own or nn.init.normal_",
        )
    ]


def dead(trace: Trace) -> list[Finding]:
    """Find ReLUs whose units are 0 for all samples."""
    groups: dict[tuple[object, ...], list[Rectified]] = {}
    times: dict[tuple[object, ...], int] = {}
    for each in trace.all(Rectified):
        at = (each.key, each.update)
        times[at] = times.get(at, 0) + 1
        groups.setdefault((each.key, times[at], each.units), []).append(each)
    for calls in groups.values():
        units = frozenset.intersection(*(each.dead for each in calls))
        first, samples = calls[0], sum(each.samples for each in calls)
        if first.units < UNITS or samples < SAMPLES or len(units) < DEAD * first.units:
            continue
        because = ""
        if first.bias is not None and first.spread is not None and first.bias < 0:
            because = f"; their mean bias is {first.bias:.3g}, what it is added to varies by "
            because += f"{first.spread:.2g}"
        return [
            Finding(
                "dying_relu",
                "ReLU is 0 for every sample: these units get no gradient and cannot come back",
                f"{first.place}: {first.place.code}",
                f"{len(units)} of {first.units} units gave 0 for all {samples} samples{because}",
                "biases that start at 0; a smaller learning rate if they were driven there; or "
                "LeakyReLU",
            )
        ]
    return []


def too_large(trace: Trace) -> list[Finding]:
    """Find weights that make the signal grow from layer to layer, or saturate every unit."""
    maps = [*{each.weight: each for each in reversed(trace.all(Mapped))}.values()][::-1]
    if len(maps) < 3 or median(each.gain for each in maps) < GAIN:
        return []
    growth = maps[-1].rms_out / maps[0].rms_in if maps[0].rms_in else 0.0
    flat = [each.saturated for each in trace.all(Squashed)]
    saturated = fmean(flat) if len(flat) > 1 else 0.0
    if not growth > GROWTH and saturated < FLAT:
        return []
    seen = (
        f"the signal grows from {maps[0].rms_in:.2g} to {maps[-1].rms_out:.2g} (rms) over "
        f"{len(maps)} linear maps"
        if growth > GROWTH
        else f"{saturated:.0%} of the units' values are where their activation is flat"
    )
    return [
        Finding(
            "large_weights",
            "weights are too large for the depth",
            trace.names({each.weight for each in maps}),
            f"{seen}; rms(W) sqrt(fan_in) is {median(each.gain for each in maps):.2g} (median), "
            "where ReLU keeps a signal at 1.4 and tanh at 1",
            "nn.init.kaiming_normal_ for ReLU, nn.init.xavier_normal_ for tanh and sigmoid",
        )
    ]
