"""Sections of the page: the error signal by layer, the largest gradients, and one step."""

import numpy as np

from gradlab.explain.sample_pass import SamplePass, max_slope, norm
from gradlab.pages.numbers import percent, power_text, signed_decades
from gradlab.pages.page import PageTable, Section
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import Sample, Step, factor_decades, gradient_shares, take_step


def signal_section(explained: SamplePass) -> Section:
    """Show the decades that activation and weights of each layer add, and their products."""
    sample = explained.sample
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
    bound = max_slope(phi)
    by_phi, by_weights = float(act[:-1].sum()), float(weights[1:].sum())
    after = [
        f"Upper bound for phi' alone: {bound:.4g}^{n} = {bound**n:.3g} "
        f"({n * np.log10(bound):+.2f} decades), the steepest slope of {phi.name} once per layer."
        if bound > 0
        else "",
        f"phi' in this network: {power_text(by_phi)}, the product of the {n} activation factors.",
        f"The weights: {power_text(by_weights)}, the product of the factors of "
        f"W_{len(sample.layers)} to W_2.",
        f"Together: ‖dZ_1‖ / ‖dZ_{len(sample.layers)}‖ = {power_text(_signal_decades(sample))}.",
    ]
    zeros = [l for l, size in enumerate(sizes, start=1) if size == 0]
    if zeros:
        after.append(
            f"In layer {max(zeros)} the error signal is exactly 0 for this sample. Therefore it is "
            "0 in all layers before."
        )
    elif bound < 1:
        after.append(
            f"The bound {bound:.4g}^{n} ignores the weights. Here the weights "
            + (
                "shrink the signal further."
                if by_weights < -0.005
                else "compensate for part of it."
                if by_weights > 0.005
                else "hardly change the signal."
            )
        )
    table = PageTable(
        ["layer", "‖dZ‖", "phi' (decades)", "W-transposed (decades)"], rows, prose=False
    )
    before = [
        "The norm of the error signal dZ at each layer, from the loss back, and the decades that "
        "each factor adds. A decade is a factor of 10."
    ]
    return Section(
        "What each layer does to the error signal", before, table, after, figure="decades"
    )


def _signal_decades(sample: Sample) -> float:
    """Return log10 of ‖dZ_1‖ / ‖dZ_L‖."""
    first, last = norm(sample.grads[0].dZ), norm(sample.grads[-1].dZ)
    if last == 0:
        return float("nan")
    return float(np.log10(first / last)) if first > 0 else -np.inf


MOST_WEIGHTS = 10
SHRINK = (1.0, 0.1, 0.01)  # factors on the learning rate


def credit_section(explained: SamplePass) -> Section:
    """Show each layer's share of the gradient, and the weights with the largest shares."""
    shares = gradient_shares(explained.sample)
    weights = [
        (float(share[i, j]), l, int(i), int(j))
        for l, share in enumerate(shares, start=1)
        for i, j in zip(*_top(share), strict=True)
    ]
    top = sorted(weights, reverse=True)[:MOST_WEIGHTS]
    rows = [
        [f"layer {l}", f"{percent(share.sum())}", f"{share.size}", f"{norm(g.dW):.3g}"]
        for l, (share, g) in enumerate(zip(shares, explained.sample.grads, strict=True), start=1)
    ]
    named = ", ".join(
        f"{_weight_name(explained, l, i, j)} ({percent(share)})" for share, l, i, j in top
    )
    heading = "Credit: the weights with the largest gradients"
    if not any(share.any() for share in shares):
        text = "Every dLoss/dW is exactly 0 for this sample. Only biases can learn."
        return Section(heading, (), None, [text], figure="network")
    before = ["A weight's share of the gradient is |dLoss/dW| over the sum of all |dLoss/dW|."]
    after = [f"The largest shares: {named}."]
    largest = int(np.argmax([share.sum() for share in shares])) + 1
    mean = shares[largest - 1].sum() / shares[largest - 1].size
    after.append(
        f"Layer {largest} has the largest share: {percent(shares[largest - 1].sum())} in "
        f"{shares[largest - 1].size} weights, {percent(mean)} per weight."
    )
    table = PageTable(["", "share", "weights", "‖dLoss/dW‖"], rows, prose=False)
    return Section(heading, before, table, after, figure="network")


def step_section(explained: SamplePass) -> Section:
    """Compare the effect of one gradient step with its prediction, at three learning rates."""
    lr = explained.settings.optim.params["lr"]
    classes = explained.dataset.task == "classification"
    steps = [take_step(explained.sample, lr * shrink, explained.target) for shrink in SHRINK]
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
        "learning rate",
        "output, predicted",
        "measured",
        "loss, predicted",
        "measured",
        "loss: measured / predicted",
    ]
    before = [
        "Each weight changes by -lr · gradient. To first order, the loss changes by -lr · ‖g‖², "
        "where g is the gradient of all weights and biases. The smaller the step, the more "
        "accurate the prediction."
        + (f" The table shows the output of the true class, {explained.target}." if classes else "")
    ]
    after: list[str] = []
    first, data = steps[0], explained.dataset
    if data.task == "regression":
        old, new = (
            v * data.y_std + data.y_mean
            for v in (
                float(explained.sample.output[0]),
                float(explained.sample.output[0]) + first.output_measured,
            )
        )
        after.append(
            f"After one step with lr={first.lr:g} on this sample, the network predicts {new:.1f} "
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


def _weight_name(explained: SamplePass, layer: int, i: int, j: int) -> str:
    """Name a weight: `W_2[0, 3]`; in the first layer with its feature, `W_1[0, 3] from age`.

    Args:
        explained: the pass of the sample.
        layer: the layer, counted from 1.
        i: unit before the weight, counted from 0.
        j: unit after the weight, counted from 0.

    Returns:
        The name.
    """
    feature = f" from {explained.dataset.features[i].split(' (')[0]}" if layer == 1 else ""
    return f"W_{layer}[{i}, {j}]{feature}"
