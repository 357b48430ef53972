"""Rules for weights that no optimiser updates: missing or frozen weights."""

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import resolve_name
from typing import Any

from gradlab.debugger.code_finding import CodeFinding
from gradlab.debugger.observe.events import BackwardPass, OptimizerStep
from gradlab.debugger.observe.fingerprints import is_cleared
from gradlab.debugger.observe.source_lines import is_library
from gradlab.debugger.observe.trace import Trace

_GRADLAB = __name__.partition(".")[0]


def find_missing_parameters(trace: Trace) -> list[CodeFinding]:
    """Find weights that get gradients and are in no optimiser."""
    passes, updates = trace.all(BackwardPass), trace.all(OptimizerStep)
    if not updates:
        return []
    with_gradient = {
        w
        for each in passes
        for w in each.reaches
        if w in trace.weights and not (w in each.after and is_cleared(each.after, w))
    }
    missing = {w for w in with_gradient - trace.moved_by_hand if not trace.weights[w].optimizers}
    reached = {w for each in passes for w in each.reaches}
    trained = {w for u in updates for w in u.weights} & reached
    if trained and not any(w in trace.weights and trace.weights[w].registered for w in trained):
        # The program optimises an input, not the model.
        missing -= {w for w in missing if trace.weights[w].registered}
    hidden = {w for w in missing if trace.weights[w].holder}
    found: list[CodeFinding] = []
    if hidden:
        found.append(_plain_list(trace, hidden))
    if missing - hidden:
        found.append(_missing(trace, missing - hidden, with_gradient))
    return found


def _plain_list(trace: Trace, weights: set[int]) -> CodeFinding:
    holders = dict.fromkeys(trace.weights[w].holder for w in trace.weights if w in weights)
    return CodeFinding(
        "plain_list",
        "the module does not register these layers: their weights are never updated",
        ", ".join(holders),
        f"the loss depends on {trace.names(weights)}, which are neither in model.parameters() nor "
        "in an optimiser",
        "nn.ModuleList or nn.ModuleDict (nn.ParameterList for bare weights); nn.Parameter for one",
    )


def _missing(trace: Trace, weights: set[int], with_gradient: set[int]) -> CodeFinding:
    """Return the finding of weights that are in no optimiser.

    Args:
        trace: the trace.
        weights: these weights.
        with_gradient: all weights that get a gradient.

    Returns:
        `layer_replaced` if an optimiser holds weights outside of the model, else
        `missing_parameters`.
    """
    in_optimizer = {w for update in trace.all(OptimizerStep) for w in update.weights}
    replaced = {
        w
        for w in in_optimizer - trace.reached
        if w in trace.weights and not trace.weights[w].registered
    }
    if replaced:
        return CodeFinding(
            "layer_replaced",
            "the optimiser holds weights that are no longer in the model",
            trace.names(weights) + _optimizer_lines(trace),
            f"{len(weights)} weights get gradients and are in no optimiser; {len(replaced)} "
            "weights of the optimiser are not in the model and get no gradient",
            "make the optimiser after the last change of the model",
        )
    return CodeFinding(
        "missing_parameters",
        "weights get gradients, and no optimiser holds them: they are never updated",
        trace.names(weights) + _optimizer_lines(trace),
        f"{len(weights)} of the {len(with_gradient)} weights with gradients are in no optimiser",
        "pass model.parameters() to the optimiser; requires_grad_(False) for fixed weights",
    )


def _optimizer_lines(trace: Trace) -> str:
    """Return the lines that made the optimisers, empty if they are unknown."""
    lines = {
        trace.optimizer_lines[u.optimizer]
        for u in trace.all(OptimizerStep)
        if u.optimizer in trace.optimizer_lines
    }
    return "".join(f"; the optimiser: {line}: {line.code}" for line in sorted(lines, key=str))


def find_frozen_layers(trace: Trace) -> list[CodeFinding]:
    """Find layers that are used, in an optimiser, and always frozen."""
    untrained = {w for update in trace.all(OptimizerStep) for w in update.weights}
    untrained -= trace.moved_by_hand | trace.reached
    layers = [
        called
        for called in trace.modules
        if called.weights
        and called.is_layer
        and True in called.grad_modes
        and all(_is_frozen(trace, w, untrained) for w in called.weights)
    ]
    passes = trace.all(BackwardPass)
    if (
        not layers
        or len(trace.all(OptimizerStep)) < 2
        or unfreezes({p.file for e in passes for p in e.lines})
    ):
        return []
    weights = {w for called in layers for w in called.weights}
    return [
        CodeFinding(
            "frozen_layer",
            "the optimiser holds weights that are frozen: they get no gradient",
            trace.names(weights) + _optimizer_lines(trace),
            f"{len(weights)} weights are in the optimiser and used in the forward pass, but their "
            f"requires_grad is False; no backward pass of the first {len(passes)} reaches them, "
            "and no line of your code can set requires_grad to True",
            "requires_grad_(True) where their training should begin; or give the optimiser only "
            "the weights to train",
        )
    ]


def _is_frozen(trace: Trace, w: int, untrained: set[int]) -> bool:
    """Return whether a weight of an optimiser is frozen.

    Args:
        trace: the trace.
        w: the `id` of the weight.
        untrained: the weights of optimisers that never get a gradient.

    Returns:
        True if `requires_grad` is False and its module is not in evaluation mode.
    """
    weight = trace.weights.get(w)
    return weight is not None and w in untrained and not weight.trainable and not weight.in_eval


def unfreezes(files: Iterable[str]) -> bool:
    """Return whether files, or the user's modules that they import, may unfreeze a weight.

    Any assignment to `requires_grad` other than a literal False may unfreeze a weight: its value is
    known only later in the training.
    """
    waiting, seen = [*files], set[str]()
    while waiting:
        file = waiting.pop()
        if file in seen or is_library(file):
            continue
        seen.add(file)
        tree = _parsed(file)
        if any(map(_sets_requires_grad, ast.walk(tree))):
            return True
        waiting += _imported(tree, file)
    return False


def _parsed(file: str) -> ast.Module:
    with suppress(SyntaxError):
        return ast.parse("".join(linecache.getlines(file)))
    return ast.Module([], [])


def _sets_requires_grad(node: ast.AST) -> bool:
    """Return whether this is `w.requires_grad_()` or `w.requires_grad = x`, unless x is False."""
    if isinstance(node, ast.Call):
        function, arguments = node.func, [*node.args, *(each.value for each in node.keywords)]
        is_setter = isinstance(function, ast.Attribute) and function.attr == "requires_grad_"
        return is_setter and not any(map(_is_false, arguments))
    if isinstance(node, ast.Assign):
        targets = [each for target in node.targets for each in ast.walk(target)]
        is_set = any(isinstance(t, ast.Attribute) and t.attr == "requires_grad" for t in targets)
        return is_set and not _is_false(node.value)
    return False


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _imported(tree: ast.Module, file: str) -> Iterator[str]:
    """Yield the files of the user's modules that a file imports."""
    loaded: dict[str, Any] = {k: vars(m) for k, m in sys.modules.items() if hasattr(m, "__dict__")}
    importers = (m for m in loaded.values() if m.get("__file__") == file)
    package = next((m.get("__package__") for m in importers), None)
    for name in _names(tree, package or ""):
        found = loaded.get(name, {}).get("__file__")
        if found and name.partition(".")[0] != _GRADLAB:
            yield found


def _names(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # a relative import of a script, which has no package
                name = resolve_name("." * node.level + (node.module or ""), package)
                yield from (name, *(f"{name}.{each.name}" for each in node.names))
