"""The result of a diagnosis: findings, and how they print."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, overload


@dataclass(frozen=True)
class Finding:
    """One pathology of one run, or of several runs that differ in their seed.

    Attributes:
        kind: One of `schema.KINDS`.
        where: Positions of the layers concerned (1 = nearest the input), or of the time steps.
        since: First recorded step with the pathology.
        severity: "note" (worth knowing, no pathology), "mild" or "gross".
        cause: A sentence with the factors that cause it.
        evidence: The numbers behind it, all finite.
        remedies: Overrides worth trying, most promising first. None was tried on this run: use
            `gradlab cure`.
        confidence: Share of several runs with the pathology; None for one run.
        axis: Meaning of `where`: "depth", or "time" in a recurrent layer.
    """

    kind: str
    where: tuple[int, ...]
    since: int
    severity: str
    cause: str
    evidence: dict[str, float] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()
    confidence: float | None = None
    axis: str = "depth"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON types."""
        return asdict(self) | {"where": list(self.where), "remedies": list(self.remedies)}

    def __str__(self) -> str:
        share = "" if self.confidence is None else f", {self.confidence:.0%} of the runs"
        head = f"{self.kind}, {self.severity}, since step {self.since}{share}: {self.cause}"
        return f"{head}\n  try: {'  '.join(self.remedies)}" if self.remedies else head


class Findings(Sequence[Finding]):
    """The findings of a run, gravest first; a sequence that prints as a list.

    It equals any list or tuple of the same findings.

    Args:
        findings: The findings, gravest first.
        diverged: Whether the run ended with a loss or a gradient that is not finite.

    Example:
        >>> print(Findings())
        healthy: nothing found
        >>> dead = Finding("dead", (2,), 0, "mild", "in layer 2 up to 95% of the units are dead")
        >>> Findings([dead])
        1. dead, mild, since step 0: in layer 2 up to 95% of the units are dead
        >>> Findings([dead]).verdict
        'dead'
    """

    def __init__(self, findings: Iterable[Finding] = (), diverged: bool = False) -> None:
        self._findings = tuple(findings)
        self._diverged = diverged

    @property
    def verdict(self) -> str:
        """One of `schema.VERDICTS`: "diverged", else the gravest finding, else "healthy"."""
        if self._diverged:
            return "diverged"
        return next((f.kind for f in self._findings if f.severity != "note"), "healthy")

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the findings as plain JSON types, as in `run.json`."""
        return [finding.as_dict() for finding in self._findings]

    def __len__(self) -> int:
        return len(self._findings)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> "Findings": ...
    def __getitem__(self, index: int | slice) -> "Finding | Findings":
        if isinstance(index, slice):
            return Findings(self._findings[index], self._diverged)
        return self._findings[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Findings | list | tuple):
            return [*self._findings] == [*other]
        return NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # a finding has a dictionary

    def __str__(self) -> str:
        if not self:
            return f"{self.verdict}: nothing found"
        lines = [f"{i}. {each}".replace("\n", "\n ") for i, each in enumerate(self, 1)]
        return "\n".join(lines if self.verdict == self[0].kind else [f"{self.verdict}:", *lines])

    __repr__ = __str__

    def to_html(self) -> str:
        """Return the findings as a table of HTML, with escaped texts."""
        if not self:
            return f"<p><b>{self.verdict}</b>: nothing found</p>"
        head = "".join(
            f"<th>{name}</th>" for name in ("", "severity", "since step", "cause", "try")
        )
        rows = [
            [
                f"<b>{escape(each.kind)}</b>",
                escape(each.severity),
                str(each.since),
                escape(each.cause),
                "<br>".join(f"<code>{escape(text)}</code>" for text in each.remedies),
            ]
            for each in self
        ]
        style = 'style="text-align: left; vertical-align: top"'
        body = "".join(
            f"<tr>{''.join(f'<td {style}>{cell}</td>' for cell in row)}</tr>" for row in rows
        )
        return f"<p><b>{self.verdict}</b></p><table><tr>{head}</tr>{body}</table>"

    _repr_html_ = to_html


def layers_in_words(positions: Sequence[int]) -> str:
    """Return positions of layers as text.

    Example:
        >>> layers_in_words([1, 2, 3, 7]), layers_in_words([4]), layers_in_words([])
        ('layers 1-3, 7', 'layer 4', 'one layer or another')
    """
    spans: list[list[int]] = []
    for position in positions:
        if spans and position == spans[-1][-1] + 1:
            spans[-1].append(position)
        else:
            spans.append([position])
    text = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)
    return f"layer{'s' if len(positions) > 1 else ''} {text}" if spans else "one layer or another"
