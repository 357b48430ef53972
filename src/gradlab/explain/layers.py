"""What each layer does to the error signal, beside the bound of phi' alone."""

import numpy as np

from gradlab.explain.subject import Subject
from gradlab.pages.numbers import decade, norm, power, steepest
from gradlab.pages.story import Section, Table
from gradlab.reference.chain_rule import Sample, decades


def section(subject: Subject) -> Section:
    """Return the decades of each layer's activation and weights, and what they multiply to."""
    sample = subject.sample
    act, weights = decades(sample)
    sizes = [norm(g.dZ) for g in sample.grads]
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
        f"phi' in this network: {power(taken)}, the product of the {n} activation factors.",
        f"The weights: {power(given)}, the product of the factors of "
        f"W_{len(sample.layers)} to W_2.",
        f"Together ‖dZ_1‖ / ‖dZ_{len(sample.layers)}‖ = {power(_together(sample))}.",
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
    table = Table(["layer", "‖dZ‖", "phi' (decades)", "W-transposed (decades)"], rows, prose=False)
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
