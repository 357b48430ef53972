"""Weights that the loss depends on and no optimiser moves."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.gradient_fingerprints import is_cleared
from gradlab.debugger.observe.trace import Backward, Trace, Update
from gradlab.debugger.rules.unfreezing import thaws


def missing(trace: Trace) -> list[Finding]:
    """Find weights that get gradients and are in no optimiser."""
    passes, updates = trace.all(Backward), trace.all(Update)
    if not updates:
        return []
    pulled = {
        w
        for each in passes
        for w in each.reaches
        if w in trace.weights and not (w in each.after and is_cleared(each.after, w))
    }
    alone = {w for w in pulled - trace.moved_otherwise if not trace.weights[w].held}
    taught = {w for u in updates for w in u.held} & {w for each in passes for w in each.reaches}
    if taught and not any(w in trace.weights and trace.weights[w].registered for w in taught):
        alone -= {w for w in alone if trace.weights[w].registered}  # an input is what is optimised
    hidden = {w for w in alone if trace.weights[w].keeper}
    found: list[Finding] = []
    if hidden:
        found.append(_plain_list(trace, hidden))
    if alone - hidden:
        found.append(_missing(trace, alone - hidden, pulled))
    return found


def _plain_list(trace: Trace, weights: set[int]) -> Finding:
    keepers = dict.fromkeys(trace.weights[w].keeper for w in trace.weights if w in weights)
    return Finding(
        "plain_list",
        "layers are kept where the module does not see them: their weights are never updated",
        ", ".join(keepers),
        f"the loss depends on {trace.names(weights)}: not among model.parameters(), and in no "
        "optimiser",
        "nn.ModuleList or nn.ModuleDict (nn.ParameterList for bare weights); nn.Parameter for one",
    )


def _missing(trace: Trace, weights: set[int], pulled: set[int]) -> Finding:
    held = {w for update in trace.all(Update) for w in update.held}
    strangers = {
        w for w in held - trace.reached if w in trace.weights and not trace.weights[w].registered
    }
    if strangers:
        return Finding(
            "layer_replaced",
            "the optimiser holds weights that are no longer in the model, and not the new ones",
            trace.names(weights) + _made(trace),
            f"{len(weights)} weights get gradients and are in no optimiser; {len(strangers)} that "
            "the optimiser holds are not in the model and get none",
            "make the optimiser after the last change of the model",
        )
    return Finding(
        "missing_parameters",
        "weights get gradients, and no optimiser holds them: they are never updated",
        trace.names(weights) + _made(trace),
        f"{len(weights)} of the {len(pulled)} weights that get gradients are in no optimiser",
        "the optimiser over model.parameters(); what is meant to stay: requires_grad_(False)",
    )


def _made(trace: Trace) -> str:
    """Say where the optimisers that stepped were made, if that was seen."""
    places = {trace.made[u.optimizer] for u in trace.all(Update) if u.optimizer in trace.made}
    return "".join(f"; the optimiser: {place}: {place.code}" for place in sorted(places, key=str))


def frozen(trace: Trace) -> list[Finding]:
    """Find whole layers that an optimiser holds, that are used, and that are frozen for good."""
    held = {w for update in trace.all(Update) for w in update.held}
    held -= trace.moved_otherwise | trace.reached
    layers = [
        called
        for called in trace.modules
        if called.weights
        and called.layer
        and True in called.grad
        and all(_is_frozen(trace, w, held) for w in called.weights)
    ]
    passes = trace.all(Backward)
    if not layers or len(trace.all(Update)) < 2 or thaws({p.file for e in passes for p in e.trail}):
        return []
    weights = {w for called in layers for w in called.weights}
    return [
        Finding(
            "frozen_layer",
            "the optimiser holds weights that are frozen: they get no gradient",
            trace.names(weights) + _made(trace),
            f"{len(weights)} weights are in the optimiser and used in the forward pass, their "
            f"requires_grad is False, no backward pass of the first {len(passes)} reaches them, "
            "and no line of yours sets requires_grad to anything but False",
            "requires_grad_(True) where the freeze should end; if it should not end, give the "
            "optimiser only what is trained",
        )
    ]


def _is_frozen(trace: Trace, w: int, held: set[int]) -> bool:
    weight = trace.weights.get(w)
    return weight is not None and w in held and not weight.trainable and not weight.asleep
