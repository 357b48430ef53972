"""Losses that are given something else than they expect."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.gradient_fingerprints import total
from gradlab.debugger.observe.source_lines import Place
from gradlab.debugger.observe.trace import Backward, Log, Loss, Trace

MANY = 250  # labels: a class of 1 in 100 is among them, by 12 to 1


def squashed_twice(trace: Trace) -> list[Finding]:
    """Find probabilities where a loss expects logits, or log-probabilities."""
    found: list[Finding] = []
    for name in ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"):
        calls = [each for each in trace.all(Loss) if each.name == name]
        is_sigmoid = all(each.origin == "Sigmoid" for each in calls)
        if name == "binary_cross_entropy_with_logits":
            wrong = is_sigmoid
        else:
            wrong = all(each.distribution for each in calls)
            wrong = wrong or (name == "cross_entropy" and is_sigmoid)
        if calls and wrong:
            found.append(_squashed(calls, "sigmoid" if is_sigmoid else "softmax"))
    return found


def _squashed(calls: list[Loss], what: str) -> Finding:
    first = calls[0]
    place = first.made or first.place
    numbers = "between 0 and 1" + (", and sum to 1 over the classes" if what == "softmax" else "")
    own = {
        "cross_entropy": "which applies log-softmax itself: F.cross_entropy(logits, y)",
        "nll_loss": "which expects logarithms: F.cross_entropy(logits, y), or log_softmax before",
        "binary_cross_entropy_with_logits": "which applies sigmoid itself: give it the logits",
    }[first.name]
    return Finding(
        f"{what}_before_{first.name.removesuffix('_with_logits')}".replace(
            "sigmoid_before_binary_cross_entropy", "sigmoid_twice"
        ),
        f"{what} before {first.name}",
        f"{place}: {place.code}",
        f"in all {len(calls)} calls of {first.name} ({first.place}) its inputs are {numbers}",
        f"no {what} before {first.name}, {own}",
    )


def sigmoid_bce(trace: Trace) -> list[Finding]:
    """Find wrong answers that binary_cross_entropy is silent on, because sigmoid has rounded.

    Silent where none did: the pair is slower and less exact than one with logits, but no mistake.
    """
    calls = [
        e for e in trace.all(Loss) if e.name == "binary_cross_entropy" and e.origin == "Sigmoid"
    ]
    lost = sum(each.lost for each in calls)
    if not lost:
        return []
    return [
        Finding(
            "sigmoid_before_bce",
            "sigmoid and binary_cross_entropy apart: saturated logits get no gradient",
            f"{calls[0].place}: {calls[0].place.code}",
            f"{lost} wrong answers got the gradient 0 in {len(calls)} calls, because sigmoid had "
            "rounded to 0 or 1",
            "F.binary_cross_entropy_with_logits(logits, y), and no sigmoid before it",
        )
    ]


def logarithms(trace: Trace) -> list[Finding]:
    """Find logarithms of a bare sigmoid, and of 0."""
    logs = trace.all(Log)
    bare = [each for each in logs if each.origin == "Sigmoid" and each.zeros]
    if bare:
        zeros, size = sum(each.zeros for each in bare), sum(each.size for each in bare)
        return [
            Finding(
                "unclipped_sigmoid",
                "the logarithm of a sigmoid: infinite where sigmoid rounds to 0 or 1",
                f"{bare[0].place}: {bare[0].place.code}",
                f"{zeros} of {size} arguments were exactly 0, in {bare[0].dtype}",
                "F.logsigmoid(z) for log(sigmoid(z)), F.logsigmoid(-z) for log(1 - sigmoid(z)); or "
                "F.binary_cross_entropy_with_logits(z, y)",
            )
        ]
    zero = [each for each in logs if each.zeros]
    harmed = [e for e in trace.all(Backward) if not _finite(e.value) or not _finite(total(e.after))]
    if not zero or not harmed:
        return []
    return [
        Finding(
            "log_of_zero",
            "the logarithm of 0",
            f"{zero[0].place}: {zero[0].place.code}",
            f"{zero[0].zeros} of {zero[0].size} arguments were exactly 0; then the loss was "
            f"{harmed[0].value:.3g} and the norm of the gradient {total(harmed[0].after):.3g}",
            "keep the argument away from 0: torch.log(x.clamp(min=1e-8)), or log_softmax of logits",
        )
    ]


def _finite(value: float) -> bool:
    return value - value == 0


def broadcast(trace: Trace) -> list[Finding]:
    """Find outputs (N, 1) against targets (N,): every output is compared with every target."""
    calls = [each for each in trace.all(Loss) if each.broadcast]
    if not calls:
        return []
    first = calls[0]
    output, target = first.shapes
    return [
        Finding(
            "broadcast_target",
            "the shapes of outputs and targets are broadcast: every output meets every target",
            f"{first.place}: {first.place.code}",
            f"outputs {list(output)} against targets {list(target)} gives "
            f"{max(output)} x {max(target)} differences, not {max(output)}",
            "targets in the shape of the outputs: y.unsqueeze(1), or outputs.squeeze(1)",
        )
    ]


def labels(trace: Trace) -> list[Finding]:
    """Find class indices that begin at 1, or at -1."""
    calls = [each for each in trace.all(Loss) if each.labels is not None]
    for place in dict.fromkeys(each.place for each in calls):
        here = [each.labels for each in calls if each.place == place if each.labels]
        classes = {each.classes for each in here}
        if len(classes) > 1 or any(0 <= each.ignored < each.classes for each in here):
            continue
        n, seen = classes.pop(), frozenset[int]().union(*(each.seen for each in here))
        count = sum(each.count for each in {*here})  # batches that are seen again are counted once
        enough = n > 2 and count >= max(MANY, 10 * n)
        unused = seen == frozenset(range(1, n)) and enough and not _has_tokens(trace)
        outside = bool(seen) and (max(seen) == n or min(seen) == -1)
        if any(each.binary for each in here):  # it takes any number: 1 and -1 are another mistake
            outside = seen in (frozenset({1, 2}), frozenset({-1, 0}))
        if unused or outside:
            return [_off_by_one(place, n, seen, count)]
    return []


def _has_tokens(trace: Trace) -> bool:
    """Say whether there is an embedding: token 0 may be kept for padding."""
    return any(each.kind == "Embedding" for each in trace.modules)


def _off_by_one(place: Place, n: int, seen: frozenset[int], count: int) -> Finding:
    return Finding(
        "shifted_labels",
        f"labels begin at {min(seen)}, classes at 0",
        f"{place}: {place.code}",
        f"there are the classes 0 to {n - 1}; of {count} labels the smallest is {min(seen)}, "
        f"the largest {max(seen)}" + (", and none is 0" if 0 not in seen else ""),
        "y + 1" if min(seen) < 0 else "y - 1",
    )
