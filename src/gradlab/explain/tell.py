"""The chain rule through one weight, in words: from a subject to the story that is told of it."""

import numpy as np

from gradlab.explain.story import Section, Story, Table
from gradlab.explain.subject import Subject
from gradlab.explain.words import decade, number, percent, power, shape, steepest
from gradlab.reference.chain import (
    Factor,
    Path,
    Step,
    blame,
    decades,
    paths,
    step,
    strongest_path,
)

MOST_WEIGHTS = 10
MOST_FEATURES = 8
SHRINK = (1.0, 0.1, 0.01)  # times the learning rate


def tell(subject: Subject) -> Story:
    """Return the whole story."""
    path = strongest_path(subject.sample, subject.layer, subject.weight)
    sections = [_sample(subject), _path(subject, path), _matrices(subject)]
    if len(subject.sample.layers) > 1:
        sections.append(_decades(subject))
    sections += [_blame(subject), _step(subject)]
    return Story(_title(subject), sections)


def _title(subject: Subject) -> str:
    chosen = subject.settings.model
    hidden = (
        f"{chosen.depth} hidden layer{'s' if chosen.depth != 1 else ''} of {chosen.width} units"
    )
    share = sum(float(b.sum()) for b in blame(subject.sample)[:1])
    return (
        f"Why dLoss/d{subject.name} is {number(subject.gradient)} in a network of "
        f"{hidden if chosen.depth else 'no hidden layer'} ({chosen.activation.name}), whose first "
        f"layer gets {percent(share)} of the blame"
    )


def _sample(subject: Subject) -> Section:
    data, sample = subject.dataset, subject.sample
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
    name = subject.settings.data.name
    table = Table(["feature", "value", "in deviations from the mean"], rows, prose=False)
    return Section(f"One sample of {name} (held out, number {subject.index})", (), table, after)


def _path(subject: Subject, path: Path) -> Section:
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
    if total:
        after.append(f"Its sign says: {down} this weight, and the loss falls.")
    return Section(
        "One weight, factor by factor", before, Table(["factor", "value", ""], rows), after
    )


def _factor(subject: Subject, factor: Factor, first: bool) -> list[str]:
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
    return f"the loss against the output: {told.get(loss, f'the derivative of {loss}')}"


def _matrices(subject: Subject) -> Section:
    sample = subject.sample
    last = len(sample.layers)
    rows = [
        [f"dA_{last}", "dLoss/dA", shape(sample.grads[-1].dA), _size(sample.grads[-1].dA), ""],
    ]
    for m in range(last, subject.layer - 1, -1):
        g, layer = sample.grads[m - 1], sample.layers[m - 1]
        phi = layer.phi.name
        rows.append(
            [f"dZ_{m}", f"dA_{m} ⊙ phi'(Z_{m})", shape(g.dZ), _size(g.dZ), f"through {phi}"]
        )
        if m > subject.layer:
            shapes = f"{shape(g.dZ)} {shape(layer.W.T)} = {shape(g.dA_prev)}"
            rows.append(
                [f"dA_{m - 1}", f"dZ_{m} W_{m}ᵀ", shapes, _size(g.dA_prev), "all paths at once"]
            )
    g, A_prev = sample.grads[subject.layer - 1], sample.caches[subject.layer - 1].A_prev
    l, (i, j) = subject.layer, subject.weight
    shapes = f"{shape(A_prev.T)} {shape(g.dZ)} = {shape(g.dW)}"
    before = f"A_{l - 1}" if l > 1 else "X"
    rows.append([f"dW_{l}", f"{before}ᵀ dZ_{l}", shapes, _size(g.dW), "every weight of the layer"])
    rows.append([f"db_{l}", f"Σ dZ_{l}", f"[{len(g.db)}]", _size(g.db), "summed over the samples"])
    a, d = float(A_prev[0, i]), float(g.dZ[0, j])
    after = [
        f"dW_{l}[{i}, {j}] = {before}[0, {i}] · dZ_{l}[0, {j}] = {number(a)} × {number(d)} = "
        f"{number(subject.gradient)}: the same number, all paths taken at once. Rows are samples "
        "(here one); with more, dW and db are sums over them."
    ]
    table = Table(["", "equation", "shapes", "‖·‖", ""], rows)
    return Section("The same in matrix form", (), table, after)


def _decades(subject: Subject) -> Section:
    sample = subject.sample
    act, weights = decades(sample)
    sizes = [_norm(g.dZ) for g in sample.grads]
    rows: list[list[str]] = []
    for l in range(len(sample.layers), 0, -1):
        hidden = l < len(sample.layers)
        rows.append(
            [
                str(l),
                f"{sizes[l - 1]:.3g}",
                decade(act[l - 1]) if hidden else "",
                decade(weights[l - 1]) if l > 1 else "",
            ]
        )
    n, phi = len(sample.layers) - 1, sample.layers[0].phi
    bound = steepest(phi)
    taken, given = float(act[:-1].sum()), float(weights[1:].sum())
    after = [
        f"phi' alone, at most: {bound:.4g}^{n} = {bound**n:.3g} "
        f"({n * np.log10(bound):+.2f} decades): {phi.name}'s steepest slope, once per activation."
        if bound > 0
        else "",
        f"phi' in this network: {power(taken)} ({taken:+.2f} decades), the product of the "
        f"{n} activation factors.",
        f"The weights: {power(given)} ({given:+.2f} decades), the product of the factors of "
        f"W_{len(sample.layers)} to W_2.",
        f"Together ‖dZ_1‖ / ‖dZ_{len(sample.layers)}‖ = {power(taken + given)} "
        f"({taken + given:+.2f} decades).",
    ]
    if bound < 1:
        after.append(
            f"So {bound:.4g}^{n} is a bound on what phi' does, and leaves out the weights: "
            + (
                "here they take away still more."
                if given < -0.005
                else "here they give some of it back."
                if given > 0.005
                else "here they change next to nothing."
            )
        )
    table = Table(["layer", "‖dZ‖", "phi' (decades)", "W-transposed (decades)"], rows, prose=False)
    before = [
        "What is left of the signal at each layer, from the loss back; a decade is a factor of 10."
    ]
    return Section("What each layer does to it", before, table, after, figure="decades")


def _blame(subject: Subject) -> Section:
    shares = blame(subject.sample)
    weights = [
        (float(share[i, j]), l, int(i), int(j))
        for l, share in enumerate(shares, start=1)
        for i, j in zip(*_top(share), strict=True)
    ]
    top = sorted(weights, reverse=True)[:MOST_WEIGHTS]
    rows = [
        [f"layer {l}", f"{percent(share.sum())}", f"{share.size}", f"{_norm(g.dW):.3g}"]
        for l, (share, g) in enumerate(zip(shares, subject.sample.grads, strict=True), start=1)
    ]
    named = ", ".join(f"{_name(subject, l, i, j)} ({percent(share)})" for share, l, i, j in top)
    before = ["A weight's blame is |dLoss/dW|, as a share of the sum over all weights."]
    after = [f"The most blamed weights: {named}."]
    heavy = int(np.argmax([share.sum() for share in shares])) + 1
    each = shares[heavy - 1].sum() / shares[heavy - 1].size
    after.append(
        f"Layer {heavy} carries most, {percent(shares[heavy - 1].sum())} over "
        f"{shares[heavy - 1].size} weights, {percent(each)} each."
    )
    table = Table(["", "blame", "weights", "‖dLoss/dW‖"], rows, prose=False)
    return Section("Credit: which weights carry the error", before, table, after, figure="network")


def _step(subject: Subject) -> Section:
    lr = subject.settings.optim.params["lr"]
    steps = [step(subject.sample, lr * shrink, subject.target) for shrink in SHRINK]
    rows = [
        [
            f"{s.lr:g}",
            f"{s.output_predicted:+.5g}",
            f"{s.output_measured:+.5g}",
            f"{s.loss_predicted:+.5g}",
            f"{s.loss_measured:+.5g}",
            _ratio(s),
        ]
        for s in steps
    ]
    headings = [
        "rate",
        "output, predicted",
        "measured",
        "loss, predicted",
        "measured",
        "loss: measured / predicted",
    ]
    before = [
        "Every weight moves by -rate · its gradient. To first order the loss changes by "
        "-rate · ‖g‖², with ‖g‖ over all weights and biases; the smaller the step, the better "
        "that holds."
    ]
    after: list[str] = []
    first, data = steps[0], subject.dataset
    if data.task == "regression":
        old, new = (
            v * data.y_std + data.y_mean
            for v in (
                float(subject.sample.output[0]),
                float(subject.sample.output[0]) + first.output_measured,
            )
        )
        after.append(
            f"After one step of {first.lr:g} on this sample alone, the network says {new:.1f} "
            f"{data.target} instead of {old:.1f}."
        )
    return Section("What one gradient step does", before, Table(headings, rows, prose=False), after)


def _ratio(s: Step) -> str:
    return f"{s.loss_measured / s.loss_predicted:.4f}" if s.loss_predicted else ""


def _top(share: np.ndarray) -> tuple[np.ndarray, ...]:
    flat = np.argsort(-share, axis=None)[:MOST_WEIGHTS]
    return np.unravel_index(flat, share.shape)


def _name(subject: Subject, layer: int, i: int, j: int) -> str:
    whence = f" from {subject.dataset.features[i].split(' (')[0]}" if layer == 1 else ""
    return f"W_{layer}[{i}, {j}]{whence}"


def _size(array: np.ndarray) -> str:
    return f"{_norm(array):.3g}"


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))
