"""What comes between the weights and the loss: values without history, and values overwritten."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Backward, Cut, Mapped, Trace, Update

KINDS = {"detach": "detach_in_path", "data": "data_in_path"}
UNROOTED = "does not require grad"


def cut(trace: Trace) -> list[Finding]:
    """Find weights that the optimiser holds and the forward pass uses, cut off from the loss."""
    starved = _starved(trace)
    cuts = [each for each in trace.all(Cut) if each.reaches & starved and not each.written]
    if not starved or not cuts:
        return _under_no_grad(trace, starved)
    most = max(len(each.reaches & starved) for each in cuts)
    first = next(each for each in cuts if len(each.reaches & starved) == most)
    written = {
        "detach": ".detach()",
        "data": ".data",
        "__float__": "float()",
        "tensor": "torch.tensor()",
        "as_tensor": "torch.as_tensor()",
    }
    how = written.get(first.how, f".{first.how}()")
    return [
        Finding(
            KINDS.get(first.how, "item_in_path"),
            f"{how} takes a value out of the graph before it enters the loss",
            f"{first.place}: {first.place.code}",
            f"{len(starved)} weights of the optimiser are used before this line, and no backward "
            f"pass reaches them: {trace.names(starved)}",
            f"keep the tensor itself on the way to the loss; {how} only on what is logged or kept",
        )
    ]


def _starved(trace: Trace) -> set[int]:
    updates = trace.all(Update)
    failed = trace.failure is not None and UNROOTED in trace.failure.message
    often = {u.optimizer for u in updates if sum(v.optimizer == u.optimizer for v in updates) > 1}
    used = {w for each in trace.modules for w in each.weights}
    used |= {each.weight for each in trace.all(Mapped)}
    return {
        w
        for w in used - trace.reached - trace.moved_otherwise
        if (weight := trace.weights.get(w)) is not None
        and weight.trainable
        and (weight.held if failed else weight.held & often)
    }


def _under_no_grad(trace: Trace, starved: set[int]) -> list[Finding]:
    calls = [
        each
        for each in trace.modules
        if each.weights & starved
        and each.grad == {False}
        and not any(trace.weights[w].asleep for w in each.weights & starved)
    ]
    if not calls:
        return []
    weights = {w for each in calls for w in each.weights & starved}
    return [
        Finding(
            "no_grad_in_path",
            "layers that the optimiser holds are only ever run without gradients",
            f"{calls[0].place}: {calls[0].place.code}",
            f"{len(weights)} weights of the optimiser are used under torch.no_grad() alone: "
            f"{trace.names(weights)}",
            "torch.no_grad() only around what is not trained; else freeze it, and leave it out of "
            "the optimiser",
        )
    ]


def written(trace: Trace) -> list[Finding]:
    """Find values that the loss depends on, changed past autograd: by `.data`, or in an array."""
    reached = {w for each in trace.all(Backward) for w in each.reaches}
    cuts = [each for each in trace.all(Cut) if each.written and each.reaches & reached]
    if not cuts:
        return []
    first = cuts[0]
    if first.how == "numpy":
        return [_through_array(first)]
    return [
        Finding(
            "data_in_path",
            "values of the graph are changed through .data: the gradient is not that of the loss",
            f"{first.place}: {first.place.code}",
            f"the numbers were written over before the backward pass, in {len(cuts)} cases; "
            "autograd differentiates as if they had not been",
            "the operation on the tensor itself, without .data: h = h / n",
        )
    ]


def _through_array(first: Cut) -> Finding:
    return Finding(
        "in_place_change",
        "an array that shares a tensor's memory is written to before the backward pass",
        f"{first.place}: {first.place.code}",
        "the gradients with the numbers as they were before are others; autograd cannot see what "
        "NumPy writes",
        "an array of its own: z.detach().numpy().copy()",
    )
