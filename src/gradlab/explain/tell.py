"""The chain rule through one weight, in words: from a subject to the story that is told of it."""

import numpy as np

from gradlab.explain import credit, layers, matrices, path
from gradlab.explain.subject import Subject
from gradlab.pages.numbers import number, percent
from gradlab.pages.story import Section, Story, Table
from gradlab.reference.chain_rule import blame

MOST_FEATURES = 8


def tell(subject: Subject) -> Story:
    """Return the whole story."""
    deep = [layers.section(subject)] if len(subject.sample.layers) > 1 else []
    sections = [
        _sample(subject),
        path.section(subject),
        matrices.section(subject),
        *deep,
        credit.blamed(subject),
        credit.stepped(subject),
    ]
    return Story(_title(subject), sections)


def _title(subject: Subject) -> str:
    chosen = subject.settings.model
    hidden = "no hidden layer"
    if chosen.depth:
        layers, units = _count(chosen.depth, "hidden layer"), _count(chosen.width, "unit")
        hidden = f"{layers} of {units} ({chosen.activation.name})"
    shares = [float(share.sum()) for share in blame(subject.sample)]
    heavy = int(np.argmax(shares))
    blamed = f", of whose blame layer {heavy + 1} gets {percent(shares[heavy])}"
    return (
        f"Why dLoss/d{subject.name} is {number(subject.gradient)} in a network of {hidden}"
        f"{blamed if max(shares) > 0 else ', which gets no gradient at all'}"
    )


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


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
