"""What each layer does to the error signal, and which weights carry the gradient."""

import numpy as np

from gradlab.explain.sample_pass import SamplePass, norm, steepest
from gradlab.pages.numbers import percent, power_text, signed_decades
from gradlab.pages.page import PageTable, Section
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import Sample, Step, factor_decades, gradient_shares, take_step


def signal_section(passed: SamplePass) -> Section:
    """Return the decades of each layer's activation and weights, and what they multiply to."""
    sample = passed.sample
    act, weights = factor_decades(sample)
    sizes = [norm(g.dZ) for g in sample.grads]
    rows: list[list[str]] = []
    for l in range(len(sample.layers), 0, -1):
        hidden = l < len(sample.layers)
        rows.append(
            [
                str(l),
                f"{sizes[l - 1]:.3g}",
                signed_decades(act[l - 1]) if hidden else "",
                signed_decades(weights[l - 1]) if l > 1 else "",
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
        f"phi' in this network: {power_text(taken)}, the product of the {n} activation factors.",
        f"The weights: {power_text(given)}, the product of the factors of "
        f"W_{len(sample.layers)} to W_2.",
        f"Together ‖dZ_1‖ / ‖dZ_{len(sample.layers)}‖ = {power_text(_together(sample))}.",
    ]
    off = [l for l, size in enumerate(sizes, start=1) if size == 0]
    if off:
        after.append(
            f"Nothing passes layer {max(off)}: its error signal is exactly 0 for this sample, and "
            "so is everything before it."
        )
    elif bound < 1:
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
    table = PageTable(
        ["layer", "‖dZ‖", "phi' (decades)", "W-transposed (decades)"], rows, prose=False
    )
    before = [
        "What is left of the signal at each layer, from the loss back; a decade is a factor of 10."
    ]
    return Section("What each layer does to it", before, table, after, figure="decades")


def _together(sample: Sample) -> float:
    """log10 of ‖dZ_1‖ / ‖dZ_L‖."""
    first, last = norm(sample.grads[0].dZ), norm(sample.grads[-1].dZ)
    if last == 0:
        return float("nan")
    return float(np.log10(first / last)) if first > 0 else -np.inf


MOST_WEIGHTS = 10
SHRINK = (1.0, 0.1, 0.01)  # times the learning rate


def credit_section(passed: SamplePass) -> Section:
    """Return each layer's blame, and the weights with most."""
    shares = gradient_shares(passed.sample)
    weights = [
        (float(share[i, j]), l, int(i), int(j))
        for l, share in enumerate(shares, start=1)
        for i, j in zip(*_top(share), strict=True)
    ]
    top = sorted(weights, reverse=True)[:MOST_WEIGHTS]
    rows = [
        [f"layer {l}", f"{percent(share.sum())}", f"{share.size}", f"{norm(g.dW):.3g}"]
        for l, (share, g) in enumerate(zip(shares, passed.sample.grads, strict=True), start=1)
    ]
    named = ", ".join(
        f"{_weight_name(passed, l, i, j)} ({percent(share)})" for share, l, i, j in top
    )
    heading = "Credit: which weights carry the error"
    if not any(share.any() for share in shares):
        told = (
            "No weight has any: every dLoss/dW is exactly 0 for this sample. Only biases can learn."
        )
        return Section(heading, (), None, [told], figure="network")
    before = ["A weight's blame is |dLoss/dW|, as a share of the sum over all weights."]
    after = [f"The most blamed weights: {named}."]
    heavy = int(np.argmax([share.sum() for share in shares])) + 1
    each = shares[heavy - 1].sum() / shares[heavy - 1].size
    after.append(
        f"Layer {heavy} carries most, {percent(shares[heavy - 1].sum())} over "
        f"{shares[heavy - 1].size} weights, {percent(each)} each."
    )
    table = PageTable(["", "blame", "weights", "‖dLoss/dW‖"], rows, prose=False)
    return Section(heading, before, table, after, figure="network")


def step_section(passed: SamplePass) -> Section:
    """Return what a step changes, predicted to first order and measured, at three rates."""
    lr = passed.settings.optim.params["lr"]
    classes = passed.dataset.task == "classification"
    steps = [take_step(passed.sample, lr * shrink, passed.target) for shrink in SHRINK]
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
        + (f" The output is that of the true class, {passed.target}." if classes else "")
    ]
    after: list[str] = []
    first, data = steps[0], passed.dataset
    if data.task == "regression":
        old, new = (
            v * data.y_std + data.y_mean
            for v in (
                float(passed.sample.output[0]),
                float(passed.sample.output[0]) + first.output_measured,
            )
        )
        after.append(
            f"After one step of {first.lr:g} on this sample alone, the network says {new:.1f} "
            f"{data.target} instead of {old:.1f}."
        )
    return Section(
        "What one gradient step does", before, PageTable(headings, rows, prose=False), after
    )


def _ratio(s: Step) -> str:
    return f"{s.loss_measured / s.loss_predicted:.4f}" if s.loss_predicted else ""


def _top(share: Array) -> tuple[Array, ...]:
    flat = np.argsort(-share, axis=None)[:MOST_WEIGHTS]
    return np.unravel_index(flat, share.shape)


def _weight_name(passed: SamplePass, layer: int, i: int, j: int) -> str:
    whence = f" from {passed.dataset.features[i].split(' (')[0]}" if layer == 1 else ""
    return f"W_{layer}[{i}, {j}]{whence}"
