"""The sentences of findings: a measurement, its reason and theory's prediction as one text.

    MEASUREMENT, because REASON; theory expects PREDICTION

Reason and prediction may be missing.
"""

from collections.abc import Mapping, Sequence
from math import log10

from gradlab.pages.numbers import factor_text

NAMED = 3  # modules that a sentence names
SHOWN = 0.05  # decades over all layers: a sentence leaves out a smaller factor
_BECAUSE, _EXPECTS = ", because ", "; theory expects "


def join_sentence(measurement: str, reason: str = "", prediction: str = "") -> str:
    """Return the sentence of a finding.

    Args:
        measurement: The measured fault, its layer and its step.
        reason: The factors or the limit behind it.
        prediction: The value that theory gives.

    Returns:
        One sentence without a full stop.

    Example:
        >>> join_sentence("the loss is inf", "float16 holds numbers up to 65,504")
        'the loss is inf, because float16 holds numbers up to 65,504'
    """
    text = f"{measurement}{_BECAUSE}{reason}" if reason else measurement
    return f"{text}{_EXPECTS}{prediction}" if prediction else text


def split_sentence(text: str) -> tuple[str, str, str]:
    """Return measurement, reason and prediction of a sentence; "" for a missing part."""
    text, _, prediction = text.partition(_EXPECTS)
    measurement, _, reason = text.partition(_BECAUSE)
    return measurement, reason, prediction


def change_text(decades: float) -> str:
    """Return a change with its plain factor: `falls 320-million-fold (8.5 decades)`."""
    verb = "rises" if decades > 0 else "falls"
    return f"{verb} {factor_text(decades)} ({abs(decades):.1f} decades)"


def smaller_text(ratio: float) -> str:
    """Return a ratio between 0 and 1 in words: `1,000-fold (3.0 decades) smaller than`."""
    decades = log10(ratio)
    return f"{factor_text(decades)} ({abs(decades):.1f} decades) smaller than"


def factors_text(decades: Mapping[str, float], count: int, unit: str, signal: str) -> str:
    """Describe the mean factors per unit of a change, the largest first.

    Args:
        decades: Decades over all units, by the name of the factor; they sum to the change.
        count: Number of units, such as layers.
        unit: Name of a unit.
        signal: Name of the quantity that changes.

    Returns:
        The plain factor per unit; "" if all factors are about 1.

    Example:
        >>> parts = {"tanh's derivative": -3.0, "the weights": -2.0, "normalisation": 1.0}
        >>> factors_text(parts, 10, "layer", "the signal").partition("; ")[0]
        "tanh's derivative divides the signal by 2 per layer, the weights by a further 1.6"
        >>> factors_text(parts, 10, "layer", "the signal").partition("; ")[2]
        'normalisation multiplies it by 1.3'
    """
    falls = sum(decades.values()) < 0
    groups: list[str] = []
    for verb in ("divide", "multiply") if falls else ("multiply", "divide"):
        texts: list[str] = []
        for name, value in sorted(decades.items(), key=lambda part: -abs(part[1])):
            factor = factor_text(value / count).removesuffix("-fold").replace("-", " ")
            if (value < 0) != (verb == "divide") or abs(value) < SHOWN or factor == "1":
                continue
            form = verb if name.endswith("s") else {"divide": "divides"}.get(verb, "multiplies")
            first = f"{form} {signal} by {factor}" + ("" if groups else f" per {unit}")
            texts.append(f"{name} by a further {factor}" if texts else f"{name} {first}")
        if texts:
            groups.append(", ".join(texts))
            signal = "it"
    return "; ".join(groups)


def expected_text(decades: float, digits: str) -> str:
    """Return a predicted change: its direction, its decades as `digits` and its plain factor.

    Example:
        >>> expected_text(-8.6, "8.6 ± 0.1")
        'a fall of 8.6 ± 0.1 decades (400-million-fold)'
    """
    return f"a {'rise' if decades > 0 else 'fall'} of {digits} decades ({factor_text(decades)})"


def layers_text(positions: Sequence[int], modules: Sequence[str] = ()) -> str:
    """Return positions of layers as text, with the names of the first modules.

    Args:
        positions: Positions, rising.
        modules: Names of the modules at these positions; none to leave them out.

    Returns:
        The text; "some layers" without a position.

    Example:
        >>> layers_text([1, 2, 3, 7]), layers_text([4], ["head"]), layers_text([])
        ('layers 1-3, 7', 'layer 4 (module head)', 'some layers')
    """
    spans: list[list[int]] = []
    for position in positions:
        if spans and position == spans[-1][-1] + 1:
            spans[-1].append(position)
        else:
            spans.append([position])
    if not spans:
        return "some layers"
    plural = "s" if len(positions) > 1 else ""
    text = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)
    names = ", ".join(modules[:NAMED]) + (", …" if len(modules) > NAMED else "")
    return f"layer{plural} {text}" + (f" (module{plural} {names})" if names else "")
