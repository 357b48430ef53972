"""Credit assignment: which weights carry the error, and what one gradient step does about it."""

import numpy as np

from gradlab.explain.subject import Subject
from gradlab.pages.numbers import norm, percent
from gradlab.pages.story import Section, Table
from gradlab.reference.activation_functions import Array
from gradlab.reference.chain_rule import Step, blame, step

MOST_WEIGHTS = 10
SHRINK = (1.0, 0.1, 0.01)  # times the learning rate


def blamed(subject: Subject) -> Section:
    """Return each layer's blame, and the weights with most."""
    shares = blame(subject.sample)
    weights = [
        (float(share[i, j]), l, int(i), int(j))
        for l, share in enumerate(shares, start=1)
        for i, j in zip(*_top(share), strict=True)
    ]
    top = sorted(weights, reverse=True)[:MOST_WEIGHTS]
    rows = [
        [f"layer {l}", f"{percent(share.sum())}", f"{share.size}", f"{norm(g.dW):.3g}"]
        for l, (share, g) in enumerate(zip(shares, subject.sample.grads, strict=True), start=1)
    ]
    named = ", ".join(f"{_name(subject, l, i, j)} ({percent(share)})" for share, l, i, j in top)
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
    table = Table(["", "blame", "weights", "‖dLoss/dW‖"], rows, prose=False)
    return Section(heading, before, table, after, figure="network")


def stepped(subject: Subject) -> Section:
    """Return what a step changes, predicted to first order and measured, at three rates."""
    lr = subject.settings.optim.params["lr"]
    classes = subject.dataset.task == "classification"
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
        + (f" The output is that of the true class, {subject.target}." if classes else "")
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


def _top(share: Array) -> tuple[Array, ...]:
    flat = np.argsort(-share, axis=None)[:MOST_WEIGHTS]
    return np.unravel_index(flat, share.shape)


def _name(subject: Subject, layer: int, i: int, j: int) -> str:
    whence = f" from {subject.dataset.features[i].split(' (')[0]}" if layer == 1 else ""
    return f"W_{layer}[{i}, {j}]{whence}"
