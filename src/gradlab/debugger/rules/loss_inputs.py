"""Rules for losses and logarithms with wrong inputs."""

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import BackwardPass, Logarithm, LossCall
from gradlab.debugger.observe.fingerprints import total_norm
from gradlab.debugger.observe.source_lines import SourceLine
from gradlab.debugger.observe.trace import Trace

MANY_LABELS = 250  # they contain a class of frequency 1% with a probability of 92%


def find_probabilities_as_logits(trace: Trace) -> list[CodeFinding]:
    """Find probabilities where a loss expects logits, or log-probabilities."""
    found: list[CodeFinding] = []
    for name in ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"):
        calls = [each for each in trace.all(LossCall) if each.name == name]
        is_sigmoid = all(each.origin == "Sigmoid" for each in calls)
        if name == "binary_cross_entropy_with_logits":
            wrong = is_sigmoid
        else:
            wrong = all(each.distribution for each in calls)
            wrong = wrong or (name == "cross_entropy" and is_sigmoid)
        if calls and wrong:
            found.append(_probabilities(calls, "sigmoid" if is_sigmoid else "softmax"))
    return found


def _probabilities(calls: list[LossCall], function: str) -> CodeFinding:
    first = calls[0]
    line = first.origin_line or first.line
    numbers = "between 0 and 1" + (
        ", and sum to 1 over the classes" if function == "softmax" else ""
    )
    reasons = {
        "cross_entropy": "which applies log-softmax itself: F.cross_entropy(logits, y)",
        "nll_loss": "which expects logarithms: F.cross_entropy(logits, y), or log_softmax first",
        "binary_cross_entropy_with_logits": "which applies sigmoid itself: pass the logits",
    }
    return CodeFinding(
        f"{function}_before_{first.name.removesuffix('_with_logits')}".replace(
            "sigmoid_before_binary_cross_entropy", "sigmoid_twice"
        ),
        f"{function} before {first.name}",
        f"{line}: {line.code}",
        f"in all {len(calls)} calls of {first.name} ({first.line}) its inputs are {numbers}",
        f"no {function} before {first.name}, {reasons[first.name]}",
    )


def find_rounded_sigmoids(trace: Trace) -> list[CodeFinding]:
    """Find wrong outputs of a sigmoid that get no gradient from binary_cross_entropy.

    The sigmoid rounded to 0 or 1. Without rounding, the two functions are only less accurate.

    Returns:
        The findings, one per line of code.
    """
    calls = [
        e for e in trace.all(LossCall) if e.name == "binary_cross_entropy" and e.origin == "Sigmoid"
    ]
    lost = sum(each.lost for each in calls)
    if not lost:
        return []
    return [
        CodeFinding(
            "sigmoid_before_bce",
            "sigmoid before binary_cross_entropy: saturated logits get no gradient",
            f"{calls[0].line}: {calls[0].line.code}",
            f"{lost} wrong outputs got the gradient 0 in {len(calls)} calls, because sigmoid "
            "rounded to 0 or 1",
            "F.binary_cross_entropy_with_logits(logits, y), and no sigmoid before it",
        )
    ]


def find_logarithms_of_zero(trace: Trace) -> list[CodeFinding]:
    """Find logarithms of 0: of a rounded sigmoid, or of another value."""
    logs = trace.all(Logarithm)
    bare = [each for each in logs if each.origin == "Sigmoid" and each.zeros]
    if bare:
        zeros, size = sum(each.zeros for each in bare), sum(each.size for each in bare)
        return [
            CodeFinding(
                "unclipped_sigmoid",
                "the logarithm of a sigmoid: infinite where sigmoid rounds to 0 or 1",
                f"{bare[0].line}: {bare[0].line.code}",
                f"{zeros} of {size} arguments were exactly 0, in {bare[0].dtype}",
                "F.logsigmoid(z) for log(sigmoid(z)), F.logsigmoid(-z) for log(1 - sigmoid(z)); or "
                "F.binary_cross_entropy_with_logits(z, y)",
            )
        ]
    zero = [each for each in logs if each.zeros]
    harmed = [
        e
        for e in trace.all(BackwardPass)
        if not _finite(e.value) or not _finite(total_norm(e.after))
    ]
    if not zero or not harmed:
        return []
    return [
        CodeFinding(
            "log_of_zero",
            "the logarithm of 0",
            f"{zero[0].line}: {zero[0].line.code}",
            f"{zero[0].zeros} of {zero[0].size} arguments were exactly 0; then the loss was "
            f"{harmed[0].value:.3g} and the norm of the gradient {total_norm(harmed[0].after):.3g}",
            "keep the argument away from 0: torch.log(x.clamp(min=1e-8)), or log_softmax of logits",
        )
    ]


def _finite(value: float) -> bool:
    return value - value == 0


def find_broadcast_targets(trace: Trace) -> list[CodeFinding]:
    """Find losses that compare every output with every target: (N, 1) against (N,)."""
    calls = [each for each in trace.all(LossCall) if each.broadcast]
    if not calls:
        return []
    first = calls[0]
    output, target = first.shapes
    return [
        CodeFinding(
            "broadcast_target",
            "outputs and targets are broadcast: every output is compared with every target",
            f"{first.line}: {first.line.code}",
            f"outputs {list(output)} against targets {list(target)} gives "
            f"{max(output)} x {max(target)} differences, not {max(output)}",
            "targets in the shape of the outputs: y.unsqueeze(1), or outputs.squeeze(1)",
        )
    ]


def find_shifted_labels(trace: Trace) -> list[CodeFinding]:
    """Find class labels that begin at 1 or -1."""
    calls = [each for each in trace.all(LossCall) if each.labels is not None]
    for line in dict.fromkeys(each.line for each in calls):
        here = [each.labels for each in calls if each.line == line if each.labels]
        classes = {each.classes for each in here}
        if len(classes) > 1 or any(0 <= each.ignored < each.classes for each in here):
            continue
        n, seen = classes.pop(), frozenset[int]().union(*(each.seen for each in here))
        count = sum(each.count for each in {*here})  # a repeated batch counts once
        enough = n > 2 and count >= max(MANY_LABELS, 10 * n)
        unused = seen == frozenset(range(1, n)) and enough and not _has_tokens(trace)
        outside = bool(seen) and (max(seen) == n or min(seen) == -1)
        if any(each.binary for each in here):  # this loss accepts any number
            outside = seen in (frozenset({1, 2}), frozenset({-1, 0}))
        if unused or outside:
            return [_off_by_one(line, n, seen, count)]
    return []


def _has_tokens(trace: Trace) -> bool:
    """Return whether the model has an embedding: token 0 may be reserved for padding."""
    return any(each.kind == "Embedding" for each in trace.modules)


def _off_by_one(line: SourceLine, n: int, seen: frozenset[int], count: int) -> CodeFinding:
    """Return the finding of shifted labels.

    Args:
        line: the line of the loss.
        n: the number of classes.
        seen: the set of labels.
        count: the number of labels.

    Returns:
        The finding.
    """
    return CodeFinding(
        "shifted_labels",
        f"the labels begin at {min(seen)}, but the classes begin at 0",
        f"{line}: {line.code}",
        f"the classes are 0 to {n - 1}; of {count} labels the smallest is {min(seen)}, "
        f"the largest {max(seen)}" + (", and none is 0" if 0 not in seen else ""),
        "y + 1" if min(seen) < 0 else "y - 1",
    )
