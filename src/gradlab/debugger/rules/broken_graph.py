"""Rules for values that leave autograd's graph, are overwritten in it, or keep it in memory."""

import re
from collections.abc import Sequence

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import (
    BackwardPass,
    GraphExit,
    InPlaceChange,
    LinearCall,
    OptimizerStep,
    TrainingError,
)
from gradlab.debugger.observe.trace import Trace

EXIT_KINDS = {"detach": "detach_in_path", "data": "data_in_path"}
UNROOTED = "does not require grad"
OVERWRITTEN = "modified by an inplace operation"
LEAF = ("leaf Variable that requires grad", "leaf variable that requires grad")
TWICE = "backward through the graph a second time"
NUMBER = "'float' object has no attribute 'backward'"


def find_cut_paths(trace: Trace) -> list[CodeFinding]:
    """Find weights of an optimiser that are used but get no gradient from the loss."""
    starved = _weights_without_gradient(trace)
    cuts = [each for each in trace.all(GraphExit) if each.reaches & starved and not each.written]
    if not starved or not cuts:
        return _under_no_grad(trace, starved)
    most = max(len(each.reaches & starved) for each in cuts)
    first = next(each for each in cuts if len(each.reaches & starved) == most)
    spellings = {
        "detach": ".detach()",
        "data": ".data",
        "__float__": "float()",
        "tensor": "torch.tensor()",
        "as_tensor": "torch.as_tensor()",
    }
    how = spellings.get(first.how, f".{first.how}()")
    return [
        CodeFinding(
            EXIT_KINDS.get(first.how, "item_in_path"),
            f"{how} takes a value out of the graph before it enters the loss",
            f"{first.line}: {first.line.code}",
            f"{len(starved)} weights of the optimiser are used before this line, and no backward "
            f"pass reaches them: {trace.names(starved)}",
            f"use the tensor itself in the loss; {how} only for logging",
        )
    ]


def _weights_without_gradient(trace: Trace) -> set[int]:
    updates = trace.all(OptimizerStep)
    failed = trace.error is not None and UNROOTED in trace.error.message
    often = {u.optimizer for u in updates if sum(v.optimizer == u.optimizer for v in updates) > 1}
    used = {w for each in trace.modules for w in each.weights}
    used |= {each.weight for each in trace.all(LinearCall)}
    return {
        w
        for w in used - trace.reached - trace.moved_by_hand
        if (weight := trace.weights.get(w)) is not None
        and weight.trainable
        and (weight.optimizers if failed else weight.optimizers & often)
    }


def _under_no_grad(trace: Trace, starved: set[int]) -> list[CodeFinding]:
    calls = [
        each
        for each in trace.modules
        if each.weights & starved
        and each.grad_modes == {False}
        and not any(trace.weights[w].in_eval for w in each.weights & starved)
    ]
    if not calls:
        return []
    weights = {w for each in calls for w in each.weights & starved}
    return [
        CodeFinding(
            "no_grad_in_path",
            "layers in the optimiser always run without gradients",
            f"{calls[0].line}: {calls[0].line.code}",
            f"{len(weights)} weights of the optimiser are used only under torch.no_grad(): "
            f"{trace.names(weights)}",
            "torch.no_grad() only around layers that are not trained; remove those layers from "
            "the optimiser",
        )
    ]


def find_writes_past_autograd(trace: Trace) -> list[CodeFinding]:
    """Find values of the graph that are changed through `.data` or through an array."""
    reached = {w for each in trace.all(BackwardPass) for w in each.reaches}
    cuts = [each for each in trace.all(GraphExit) if each.written and each.reaches & reached]
    if not cuts:
        return []
    first = cuts[0]
    if first.how == "numpy":
        return [_through_array(first)]
    return [
        CodeFinding(
            "data_in_path",
            "values of the graph are changed through .data: the gradient is wrong",
            f"{first.line}: {first.line.code}",
            f"the values were overwritten before the backward pass, in {len(cuts)} cases; "
            "autograd ignores this change",
            "the operation on the tensor itself, without .data: h = h / n",
        )
    ]


def _through_array(first: GraphExit) -> CodeFinding:
    return CodeFinding(
        "in_place_change",
        "an array that shares a tensor's memory is written to before the backward pass",
        f"{first.line}: {first.line.code}",
        "the earlier values give other gradients; autograd cannot see NumPy's writes",
        "a copy: z.detach().numpy().copy()",
    )


def find_in_place_changes(trace: Trace) -> list[CodeFinding]:
    """Find an in-place change of a tensor that the backward pass needs: torch raises an error."""
    error = trace.error
    if error is None or not any(words in error.message for words in (OVERWRITTEN, *LEAF)):
        return []
    line, name = error.line, ""
    if OVERWRITTEN in error.message:
        cause = _cause(error, trace.all(InPlaceChange))
        line, name = (cause.line, cause.name) if cause else (line, "")
    return [
        CodeFinding(
            "in_place_change",
            "a tensor that the backward pass needs is changed in place",
            f"{line}: {line.code}",
            f"{error.line}: {error.message.partition('. Hint')[0]}",
            "a new tensor: h = h + x rather than h += x"
            + (f" or h.{name}(x)" if name and not name.startswith("__") else ""),
        )
    ]


def _cause(error: TrainingError, changes: Sequence[InPlaceChange]) -> InPlaceChange | None:
    """Return the change that caused torch's error: the last one with the shape in its message.

    If no change has this shape, return the change with the version in the message.
    """
    shape_text = re.search(r"\[[\w.]*Tensor \[([\d, ]*)\]\]", error.message)
    shape = tuple(int(n) for n in shape_text[1].split(",") if n.strip()) if shape_text else None
    fits = [each for each in changes if each.shape == shape]
    if fits:
        return fits[-1]
    version = re.search(r"is at version (\d+)", error.message)
    fits = [each for each in changes if version and each.version == int(version[1])]
    return fits[-1] if len({each.line for each in fits}) == 1 else None


def find_reused_graphs(trace: Trace) -> list[CodeFinding]:
    """Find a graph that continues from one update to the next."""
    error = trace.error
    if error is None or TWICE not in error.message:
        return []
    return [
        CodeFinding(
            "graph_used_twice",
            "a value of an earlier step refers to the graph of that step, which is released",
            f"{error.line}: {error.line.code}",
            f"torch: {error.message.partition(' (')[0]}",
            "h = h.detach() for a state that the next step uses; or one pass of the summed losses",
        )
    ]


def find_plain_numbers(trace: Trace) -> list[CodeFinding]:
    """Find a loss that is a plain number: `backward` raises an error."""
    error = trace.error
    if error is None or error.message != NUMBER:
        return []
    return [
        CodeFinding(
            "item_in_path",
            "the loss is a plain number, which has no history",
            f"{error.line}: {error.line.code}",
            f"{error.kind}: {error.message}",
            "backward on the loss tensor; .item() only for logging",
        )
    ]


def find_evaluation_mode(trace: Trace) -> list[CodeFinding]:
    """Find training in evaluation mode, which turns dropout and batch statistics off."""
    passes = trace.all(BackwardPass)
    in_eval = [each for each in passes if each.in_eval]
    if len(passes) < 2 or passes[-2:] != in_eval[-2:]:
        return []
    kinds = ", ".join(sorted({kind for each in in_eval for kind in each.in_eval}))
    line, eval_line = in_eval[-1].line, in_eval[-1].eval_line
    called = f"; eval() was last called at {eval_line}" if eval_line else ""
    return [
        CodeFinding(
            "eval_left_on",
            "the model is trained in evaluation mode",
            f"{line}: {line.code}",
            f"at {len(in_eval)} of {len(passes)} backward passes, all trained modules were in "
            f"evaluation mode, including {kinds}{called}",
            "model.train() before training, and again after every evaluation",
        )
    ]


def find_stored_graphs(trace: Trace) -> list[CodeFinding]:
    """Find graphs that are still in memory long after their step."""
    old = [update for update in trace.live_graphs if update <= trace.steps - 2]
    if trace.steps < 4 or len(old) < trace.steps - 1:
        return []
    line = trace.live_graphs[old[0]]
    return [
        CodeFinding(
            "kept_graph",
            "the graph of every step stays in memory, and memory grows",
            f"{line}: {line.code}",
            f"after {trace.steps} updates, the graphs of {len(old) + 1} updates are in memory: the "
            "value of this line was stored, or added to a total, with its graph",
            "store numbers: losses.append(loss.item()), total += loss.item()",
        )
    ]
