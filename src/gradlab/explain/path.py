"""One weight, factor by factor: the strongest path from the loss back to it."""

import numpy as np

from gradlab.explain.subject import Subject
from gradlab.pages.numbers import number
from gradlab.pages.story import Section, Table
from gradlab.reference.chain_rule import ChainFactor, paths, strongest_path


def section(subject: Subject) -> Section:
    """Return the path's factors, their product, and the gradient that they are a share of."""
    path = strongest_path(subject.sample, subject.layer, subject.weight)
    count, share = paths(subject.sample, subject.layer), path.product
    total = subject.gradient
    name = subject.name
    found = "" if subject.chosen else f", the most blamed weight of layer {subject.layer}"
    i, j = subject.weight
    value = subject.sample.layers[subject.layer - 1].W[i, j]
    before = [
        f"{name} = {number(value)}{found}. If it moves, unit {j} of layer {subject.layer} moves, "
        "and so on up to the loss: each link multiplies the change. "
        + (
            "There is one path."
            if count == 1
            else f"There are {count:,} paths to the loss; the strongest, from the loss back:"
        )
    ]
    rows = [_factor(subject, factor, k == 0) for k, factor in enumerate(path.factors)]
    rows.append(["the product", f"= {number(share)}", "this path's share of the gradient"])
    if count > 1:
        rest = total - share
        sign = "-" if rest < 0 else "+"
        rows.append([f"the other {count - 1:,}", f"{sign} {number(abs(rest))}", "all other paths"])
    rows.append([f"dLoss/d{name}", f"= {number(total)}", "by hand"])
    rows.append(["", f"= {number(subject.of_autograd)}", "by autograd"])
    gap = abs(total - subject.of_autograd) / max(abs(total), np.finfo(float).tiny)
    down = "increase" if total < 0 else "decrease"
    after = [f"By hand and by autograd differ by {gap:.1g} of the value."]
    if total == 0 and share == 0:
        after = ["A factor of 0 on every path: no change of this weight reaches the loss."]
    if total:
        after.append(f"Its sign says: {down} this weight, and the loss falls.")
    return Section(
        "One weight, factor by factor", before, Table(["factor", "value", ""], rows), after
    )


def _factor(subject: Subject, factor: ChainFactor, first: bool) -> list[str]:
    unit, layer = factor.units[-1], factor.layer
    sample = subject.sample
    times = "" if first else "× "
    if factor.kind == "loss":
        name, said = f"dLoss/da_{layer}[{unit}]", _said_of_loss(subject)
    elif factor.kind == "slope":
        phi, z = sample.layers[layer - 1].phi.name, sample.caches[layer - 1].Z[0, unit]
        name = f"phi'(z_{layer}[{unit}])"
        said = f"{phi} at z = {number(float(z))} passes this much of a change on"
        if phi == "identity":
            said = "no activation here: a change passes as it is"
    elif factor.kind == "weight":
        before = factor.units[0]
        name = f"W_{layer}[{before}, {unit}]"
        said = f"the weight from unit {before} of layer {layer - 1} to unit {unit} of layer {layer}"
    else:
        name = f"a_{layer}[{unit}]" if layer else f"x[{unit}]"
        said = (
            f"what comes through the weight: the output of unit {unit} of layer {layer}"
            if layer
            else f"what comes through the weight: {subject.dataset.features[unit]}, standardised"
        )
    return [name, f"{times}{number(factor.value)}", said]


def _said_of_loss(subject: Subject) -> str:
    loss = subject.settings.loss.component.name
    told = {
        "mse": "2 (output - target) / outputs",
        "huber": "output - target, held within delta, / outputs",
        "bce": "(sigmoid(output) - target) / outputs",
        "cross_entropy": "softmax(output) - target",
    }
    scale = subject.settings.loss.scale
    times = "" if scale == 1 else f", times {scale:g}"
    return f"the loss against the output: {told.get(loss, f'the derivative of {loss}')}{times}"
