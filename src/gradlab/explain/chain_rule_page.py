"""The page of `gradlab explain`: the chain rule through one weight, in words and numbers."""

import numpy as np

from gradlab.explain.credit import credit_section, signal_section, step_section
from gradlab.explain.sample_pass import SamplePass, norm, shape
from gradlab.pages.numbers import four_digits, percent
from gradlab.pages.page import Page, PageTable, Section
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import ChainFactor, count_paths, gradient_shares, strongest_path

MOST_FEATURES = 8


def chain_rule_page(passed: SamplePass) -> Page:
    """Return the whole story."""
    deep = [signal_section(passed)] if len(passed.sample.layers) > 1 else []
    sections = [
        _sample(passed),
        path_section(passed),
        matrix_section(passed),
        *deep,
        credit_section(passed),
        step_section(passed),
    ]
    return Page(_title(passed), sections)


def _title(passed: SamplePass) -> str:
    chosen = passed.settings.model
    hidden = "no hidden layer"
    if chosen.depth:
        layers, units = _count(chosen.depth, "hidden layer"), _count(chosen.width, "unit")
        hidden = f"{layers} of {units} ({chosen.activation.name})"
    shares = [float(share.sum()) for share in gradient_shares(passed.sample)]
    heavy = int(np.argmax(shares))
    blamed = f", of whose blame layer {heavy + 1} gets {percent(shares[heavy])}"
    return (
        f"Why dLoss/d{passed.name} is {four_digits(passed.gradient)} in a network of {hidden}"
        f"{blamed if max(shares) > 0 else ', which gets no gradient at all'}"
    )


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


def _sample(passed: SamplePass) -> Section:
    data, sample = passed.dataset, passed.sample
    x = sample.X[0]
    raw = x * data.x_std.numpy() + data.x_mean.numpy()
    shown = np.argsort(-np.abs(x))[:MOST_FEATURES]
    rows = [[data.features[i], f"{raw[i]:.3g}", f"{x[i]:+.2f}"] for i in sorted(shown)]
    after: list[str] = []
    if len(x) > len(shown):
        after.append(f"({len(x) - len(shown)} more features, nearer to their means.)")
    if data.task == "regression":
        said, true = (
            float(v) * data.y_std + data.y_mean for v in (sample.output[0], sample.Y[0, 0])
        )
        unit = data.target
        after += [
            f"The network says {said:.1f} {unit}; the truth is {true:.1f}. It is "
            f"{abs(said - true):.1f} too {'high' if said > true else 'low'}.",
            f"In the network's own units (one is {data.y_std:.1f} {unit}, 0 the mean of "
            f"{data.y_mean:.1f}): output {sample.output[0]:+.4f}, target {sample.Y[0, 0]:+.4f}, "
            f"loss {sample.value:.4g}.",
        ]
    else:
        said, true = int(sample.output.argmax()), int(sample.Y[0])
        after.append(
            f"The network says {data.target} {said}; the truth is {true}. Loss {sample.value:.4g}."
        )
    name = passed.settings.data.name
    table = PageTable(["feature", "value", "in deviations from the mean"], rows, prose=False)
    return Section(f"One sample of {name} (held out, number {passed.index})", (), table, after)


def path_section(passed: SamplePass) -> Section:
    """Return the path's factors, their product, and the gradient that they are a share of."""
    path = strongest_path(passed.sample, passed.layer, passed.weight)
    count, share = count_paths(passed.sample, passed.layer), path.product
    total = passed.gradient
    name = passed.name
    found = "" if passed.chosen else f", the most blamed weight of layer {passed.layer}"
    i, j = passed.weight
    value = passed.sample.layers[passed.layer - 1].W[i, j]
    before = [
        f"{name} = {four_digits(value)}{found}. If this weight changes, unit {j} of layer "
        f"{passed.layer} changes, then the next layer, up to the loss. Each link multiplies the "
        "change by one factor. "
        + (
            "There is one path."
            if count == 1
            else f"There are {count:,} paths to the loss; the strongest, from the loss back:"
        )
    ]
    rows = [_factor(passed, factor, k == 0) for k, factor in enumerate(path.factors)]
    rows.append(["the product", f"= {four_digits(share)}", "this path's share of the gradient"])
    if count > 1:
        rest = total - share
        sign = "-" if rest < 0 else "+"
        rows.append(
            [f"the other {count - 1:,}", f"{sign} {four_digits(abs(rest))}", "all other paths"]
        )
    rows.append([f"dLoss/d{name}", f"= {four_digits(total)}", "by hand"])
    rows.append(["", f"= {four_digits(passed.of_autograd)}", "by autograd"])
    gap = abs(total - passed.of_autograd) / max(abs(total), np.finfo(float).tiny)
    down = "increase" if total < 0 else "decrease"
    after = [f"By hand and by autograd differ by {gap:.1g} of the value."]
    if total == 0 and share == 0:
        after = ["A factor of 0 on every path: no change of this weight reaches the loss."]
    if total:
        after.append(f"Its sign says: {down} this weight, and the loss falls.")
    return Section(
        "One weight, factor by factor", before, PageTable(["factor", "value", ""], rows), after
    )


def _factor(passed: SamplePass, factor: ChainFactor, first: bool) -> list[str]:
    unit, layer = factor.units[-1], factor.layer
    sample = passed.sample
    times = "" if first else "× "
    if factor.kind == "loss":
        name, said = f"dLoss/da_{layer}[{unit}]", _loss_words(passed)
    elif factor.kind == "slope":
        phi, z = sample.layers[layer - 1].phi.name, sample.caches[layer - 1].Z[0, unit]
        name = f"phi'(z_{layer}[{unit}])"
        said = f"{phi} at z = {four_digits(float(z))} passes this much of a change on"
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
            else f"what comes through the weight: {passed.dataset.features[unit]}, standardised"
        )
    return [name, f"{times}{four_digits(factor.value)}", said]


def _loss_words(passed: SamplePass) -> str:
    loss = passed.settings.loss.component.name
    told = {
        "mse": "2 (output - target) / outputs",
        "huber": "output - target, held within delta, / outputs",
        "bce": "(sigmoid(output) - target) / outputs",
        "cross_entropy": "softmax(output) - target",
    }
    scale = passed.settings.loss.scale
    times = "" if scale == 1 else f", times {scale:g}"
    return f"the loss against the output: {told.get(loss, f'the derivative of {loss}')}{times}"


def matrix_section(passed: SamplePass) -> Section:
    """Return the equations of the backward pass, with shapes and sizes."""
    sample = passed.sample
    last = len(sample.layers)
    rows = [
        [f"dA_{last}", "dLoss/dA", shape(sample.grads[-1].dA), _size(sample.grads[-1].dA), ""],
    ]
    for m in range(last, passed.layer - 1, -1):
        g, layer = sample.grads[m - 1], sample.layers[m - 1]
        phi = layer.phi.name
        rows.append(
            [f"dZ_{m}", f"dA_{m} ⊙ phi'(Z_{m})", shape(g.dZ), _size(g.dZ), f"through {phi}"]
        )
        if m > passed.layer:
            shapes = f"{shape(g.dZ)} {shape(layer.W.T)} = {shape(g.dA_prev)}"
            rows.append(
                [f"dA_{m - 1}", f"dZ_{m} W_{m}ᵀ", shapes, _size(g.dA_prev), "all paths at once"]
            )
    g, A_prev = sample.grads[passed.layer - 1], sample.caches[passed.layer - 1].A_prev
    l, (i, j) = passed.layer, passed.weight
    shapes = f"{shape(A_prev.T)} {shape(g.dZ)} = {shape(g.dW)}"
    before = f"A_{l - 1}" if l > 1 else "X"
    rows.append([f"dW_{l}", f"{before}ᵀ dZ_{l}", shapes, _size(g.dW), "every weight of the layer"])
    rows.append([f"db_{l}", f"Σ dZ_{l}", f"[{len(g.db)}]", _size(g.db), "summed over the samples"])
    a, d = float(A_prev[0, i]), float(g.dZ[0, j])
    after = [
        f"dW_{l}[{i}, {j}] = {before}[0, {i}] · dZ_{l}[0, {j}] = {four_digits(a)} × "
        f"{four_digits(d)} = {four_digits(passed.gradient)}: the same number, from all paths at "
        "once. Each row is one sample; dW and db are sums over samples."
    ]
    table = PageTable(["", "equation", "shapes", "‖·‖", ""], rows)
    return Section("The same in matrix form", (), table, after)


def _size(array: Array) -> str:
    return f"{norm(array):.3g}"
