"""Build the page of `gradlab explain`: the chain rule through one weight, with its numbers."""

import numpy as np

from gradlab.explain.credit import credit_section, signal_section, step_section
from gradlab.explain.sample_pass import SamplePass, norm, shape
from gradlab.pages.numbers import count, four_digits, percent
from gradlab.pages.page import Page, PageTable, Section
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import ChainFactor, count_paths, gradient_shares, strongest_path

MOST_FEATURES = 8


def chain_rule_page(explained: SamplePass) -> Page:
    """Build the page from the pass of one sample."""
    deep = [signal_section(explained)] if len(explained.sample.layers) > 1 else []
    sections = [
        _sample_section(explained),
        path_section(explained),
        matrix_section(explained),
        *deep,
        credit_section(explained),
        step_section(explained),
    ]
    return Page(_title(explained), sections)


def _title(explained: SamplePass) -> str:
    chosen = explained.settings.model
    hidden = "without a hidden layer"
    if chosen.depth:
        layers, units = count(chosen.depth, "hidden layer"), count(chosen.width, "unit")
        hidden = f"with {layers} of {units} ({chosen.activation.name})"
    shares = [float(share.sum()) for share in gradient_shares(explained.sample)]
    largest = int(np.argmax(shares))
    share = f"; layer {largest + 1} has {percent(shares[largest])} of the gradient"
    return (
        f"Why dLoss/d{explained.name} is {four_digits(explained.gradient)} in a network {hidden}"
        f"{share if max(shares) > 0 else '; every weight gradient is 0'}"
    )


def _sample_section(explained: SamplePass) -> Section:
    data, sample = explained.dataset, explained.sample
    x = sample.X[0]
    raw = x * data.x_std.numpy() + data.x_mean.numpy()
    shown = np.argsort(-np.abs(x))[:MOST_FEATURES]
    rows = [[data.features[i], f"{raw[i]:.3g}", f"{x[i]:+.2f}"] for i in sorted(shown)]
    after: list[str] = []
    if len(x) > len(shown):
        after.append(
            f"{len(x) - len(shown)} features that are nearer to their means are not shown."
        )
    if data.task == "regression":
        output, true = (
            float(v) * data.y_std + data.y_mean for v in (sample.output[0], sample.Y[0, 0])
        )
        unit = data.target
        after += [
            f"The network predicts {output:.1f} {unit}, and the target is {true:.1f}. "
            f"The prediction is {abs(output - true):.1f} too {'high' if output > true else 'low'}.",
            f"Standardised with mean {data.y_mean:.1f} and standard deviation {data.y_std:.1f}: "
            f"output {sample.output[0]:+.4f}, target {sample.Y[0, 0]:+.4f}, loss "
            f"{sample.value:.4g}.",
        ]
    else:
        output, true = int(sample.output.argmax()), int(sample.Y[0])
        after.append(
            f"The network predicts {data.target} {output}, and the target is {true}. The loss is "
            f"{sample.value:.4g}."
        )
    name = explained.settings.data.name
    table = PageTable(["feature", "value", "standardised"], rows, prose=False)
    return Section(f"Sample {explained.index} of the held-out samples of {name}", (), table, after)


def path_section(explained: SamplePass) -> Section:
    """List the factors of the strongest path, their product, and the whole gradient."""
    path = strongest_path(explained.sample, explained.layer, explained.weight)
    paths, share = count_paths(explained.sample, explained.layer), path.product
    total = explained.gradient
    name = explained.name
    layer = explained.layer
    reason = "" if explained.chosen else f", the weight with the largest gradient in layer {layer}"
    i, j = explained.weight
    value = explained.sample.layers[layer - 1].W[i, j]
    before = [
        f"{name} = {four_digits(value)}{reason}. If this weight changes, unit {j} of layer {layer} "
        "changes, then the next layer, up to the loss. Each link multiplies the change by one "
        "factor. "
        + (
            "There is one path from this weight to the loss."
            if paths == 1
            else f"There are {paths:,} paths from this weight to the loss. The table shows the "
            "strongest one, from the loss back."
        )
    ]
    rows = [_factor(explained, factor, k == 0) for k, factor in enumerate(path.factors)]
    rows.append(["the product", f"= {four_digits(share)}", "the gradient through this path"])
    if paths > 1:
        rest = total - share
        sign = "-" if rest < 0 else "+"
        rows.append(
            [f"the other {paths - 1:,}", f"{sign} {four_digits(abs(rest))}", "all other paths"]
        )
    rows.append([f"dLoss/d{name}", f"= {four_digits(total)}", "by hand"])
    rows.append(["", f"= {four_digits(explained.autograd_gradient)}", "by autograd"])
    gap = abs(total - explained.autograd_gradient) / max(abs(total), np.finfo(float).tiny)
    change = "increases" if total < 0 else "decreases"
    after = [f"The relative difference between the two values is {gap:.1g}."]
    if total == 0 and share == 0:
        after = [
            "Every path has a factor of 0: a small change of this weight does not change the loss."
        ]
    if total:
        after.append(f"The sign gives the direction: the loss falls if this weight {change}.")
    return Section(
        "One weight, factor by factor", before, PageTable(["factor", "value", ""], rows), after
    )


def _factor(explained: SamplePass, factor: ChainFactor, first: bool) -> list[str]:
    """Return the table row of a factor.

    Args:
        explained: the pass of the sample.
        factor: the factor.
        first: whether it is the first factor of the product.

    Returns:
        Name, value and meaning.
    """
    unit, layer = factor.units[-1], factor.layer
    sample = explained.sample
    times = "" if first else "× "
    if factor.kind == "loss":
        name, meaning = f"dLoss/da_{layer}[{unit}]", _describe_loss_derivative(explained)
    elif factor.kind == "slope":
        phi, z = sample.layers[layer - 1].phi.name, sample.caches[layer - 1].Z[0, unit]
        name = f"phi'(z_{layer}[{unit}])"
        meaning = f"the slope of {phi} at z = {four_digits(float(z))}"
        if phi == "identity":
            meaning = "no activation: the change is not scaled"
    elif factor.kind == "weight":
        before = factor.units[0]
        name = f"W_{layer}[{before}, {unit}]"
        meaning = f"weight from unit {before} of layer {layer - 1} to unit {unit} of layer {layer}"
    else:
        name = f"a_{layer}[{unit}]" if layer else f"x[{unit}]"
        meaning = (
            f"the input of the weight: the output of unit {unit} of layer {layer}"
            if layer
            else f"the input of the weight: {explained.dataset.features[unit]}, standardised"
        )
    return [name, f"{times}{four_digits(factor.value)}", meaning]


def _describe_loss_derivative(explained: SamplePass) -> str:
    loss = explained.settings.loss.component.name
    formulas = {
        "mse": "2 (output - target) / outputs",
        "huber": "(output - target, clipped to ±delta) / outputs",
        "bce": "(sigmoid(output) - target) / outputs",
        "cross_entropy": "softmax(output) - target",
    }
    scale = explained.settings.loss.scale
    times = "" if scale == 1 else f", times {scale:g}"
    formula = f": {formulas[loss]}" if loss in formulas else ""
    return f"the derivative of {loss}{formula}{times}"


def matrix_section(explained: SamplePass) -> Section:
    """List the equations of the backward pass in matrix form, with shapes and norms."""
    sample = explained.sample
    last = len(sample.layers)
    rows = [
        [f"dA_{last}", "dLoss/dA", shape(sample.grads[-1].dA), _size(sample.grads[-1].dA), ""],
    ]
    for m in range(last, explained.layer - 1, -1):
        g, layer = sample.grads[m - 1], sample.layers[m - 1]
        phi = layer.phi.name
        rows.append(
            [f"dZ_{m}", f"dA_{m} ⊙ phi'(Z_{m})", shape(g.dZ), _size(g.dZ), f"slope of {phi}"]
        )
        if m > explained.layer:
            shapes = f"{shape(g.dZ)} {shape(layer.W.T)} = {shape(g.dA_prev)}"
            rows.append(
                [f"dA_{m - 1}", f"dZ_{m} W_{m}ᵀ", shapes, _size(g.dA_prev), "sum over all paths"]
            )
    g, A_prev = sample.grads[explained.layer - 1], sample.caches[explained.layer - 1].A_prev
    l, (i, j) = explained.layer, explained.weight
    shapes = f"{shape(A_prev.T)} {shape(g.dZ)} = {shape(g.dW)}"
    before = f"A_{l - 1}" if l > 1 else "X"
    rows.append([f"dW_{l}", f"{before}ᵀ dZ_{l}", shapes, _size(g.dW), "all weights of the layer"])
    rows.append([f"db_{l}", f"Σ dZ_{l}", f"[{len(g.db)}]", _size(g.db), "sum over the samples"])
    a, d = float(A_prev[0, i]), float(g.dZ[0, j])
    after = [
        f"dW_{l}[{i}, {j}] = {before}[0, {i}] · dZ_{l}[0, {j}] = {four_digits(a)} × "
        f"{four_digits(d)} = {four_digits(explained.gradient)}: the same gradient, over all paths. "
        "Each row is a sample (here one); dW and db are sums over samples."
    ]
    table = PageTable(["", "equation", "shapes", "‖·‖", ""], rows)
    return Section("The same in matrix form", (), table, after)


def _size(array: Array) -> str:
    return f"{norm(array):.3g}"
