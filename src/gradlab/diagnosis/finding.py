"""The result of a diagnosis: findings, and how they print."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, overload

from gradlab.diagnosis.sentences import split_sentence

_OVERRIDE = re.compile(r"[\w.]+=\S+")


@dataclass(frozen=True)
class Finding:
    """One observation about a run, or about several runs that differ in their seed.

    Attributes:
        kind: One of `schema.KINDS`.
        where: Positions of the layers concerned (1 = nearest the input), or of the time steps.
        since: First recorded step with the pathology.
        severity: "note" (worth knowing, no pathology), "mild" or "severe".
        cause: One sentence: the measurement, its reason after ", because ", and theory's
            prediction after "; theory expects ". The last two may be missing.
        evidence: The numbers behind it, all finite; decades and factors over depth have a sign.
        remedies: Alternatives worth trying, most promising first: overrides for gradlab's networks,
            lines of code for a watched network. gradlab has not tried them: use `gradlab cure`.
        confidence: Share of several runs with the pathology; None for one run.
        axis: Meaning of `where`: "depth", or "time" in a recurrent layer.
        cause_of: Kinds of the findings that follow from this one.

    Example:
        >>> text = "the loss becomes inf at step 9, because float16 holds numbers up to 65,504"
        >>> print(Finding("overflow", (), 9, "severe", text, remedies=("train.dtype=float32",)))
        overflow, severe, since step 9: the loss becomes inf at step 9.
          cause:  float16 holds numbers up to 65,504
          try:    train.dtype=float32   (or gradlab cure DIR)
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
    cause_of: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON types."""
        lists = {"where": list(self.where), "remedies": list(self.remedies)}
        return asdict(self) | lists | {"cause_of": list(self.cause_of)}

    def severity_text(self) -> str:
        """Return the severity, and the share of the runs if there are several."""
        share = "" if self.confidence is None else f" in {self.confidence:.0%} of the runs"
        return f"{self.severity}{share}"

    def __str__(self) -> str:
        measurement, reason, prediction = split_sentence(self.cause)
        lines = [f"{self.kind}, {self.severity_text()}, since step {self.since}: {measurement}."]
        lines += [f"  cause:  {reason}"] if reason else []
        lines += [f"  theory: {prediction}"] if prediction else []
        lines += [f"  so:     {', '.join(self.cause_of)}"] if self.cause_of else []
        if self.remedies and all(map(_OVERRIDE.fullmatch, self.remedies)):
            lines.append(f"  try:    {' or '.join(self.remedies)}   (or gradlab cure DIR)")
        elif self.remedies:
            lines.append("  try:    " + "\n          ".join(self.remedies))
        return "\n".join(lines)


class Findings(Sequence[Finding]):
    """The findings of a run, most severe first; a sequence that prints as a list.

    It equals any list or tuple of the same findings.

    Args:
        findings: The findings, most severe first.
        diverged: Whether the run ended with a loss or a gradient that is not finite.
        learning: One of `schema.LEARNING`; None if unknown, for example without a recorded loss.

    Example:
        >>> print(Findings())
        healthy: nothing found
        >>> print(Findings(learning="too_early"))
        too early to judge: nothing found, but the steps are too few to see whether the loss falls
        >>> dead = Finding("dead", (2,), 0, "mild", "up to 95% of the units of layer 2 are dead")
        >>> Findings([dead])
        1. dead, mild, since step 0: up to 95% of the units of layer 2 are dead.
        >>> Findings([dead]).verdict
        'dead'
    """

    def __init__(
        self,
        findings: Iterable[Finding] = (),
        diverged: bool = False,
        learning: str | None = None,
    ) -> None:
        self._findings = tuple(findings)
        self._diverged = diverged
        self.learning = learning

    @property
    def verdict(self) -> str:
        """One of `schema.VERDICTS`.

        It is "diverged", else the most severe finding, else "too_early" if the steps are too few to
        judge whether the network learns, else "healthy".
        """
        if self._diverged:
            return "diverged"
        good = "too_early" if self.learning == "too_early" else "healthy"
        return next((f.kind for f in self._findings if f.severity != "note"), good)

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
            return Findings(self._findings[index], self._diverged, self.learning)
        return self._findings[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Findings | list | tuple):
            return [*self._findings] == [*other]
        return NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # a finding has a dictionary

    def __str__(self) -> str:
        if not self:
            return ": ".join(self._nothing_text())
        lines = [f"{i}. {each}".replace("\n", "\n ") for i, each in enumerate(self, 1)]
        return "\n".join(lines if self.verdict == self[0].kind else [f"{self.verdict}:", *lines])

    __repr__ = __str__

    def _nothing_text(self) -> tuple[str, str]:
        if self.verdict != "too_early":
            return self.verdict, "nothing found"
        reason = "nothing found, but the steps are too few to see whether the loss falls"
        return "too early to judge", reason

    def to_html(self) -> str:
        """Return the findings as an HTML table; texts are escaped."""
        if not self:
            verdict, text = self._nothing_text()
            return f"<p><b>{verdict}</b>: {text}</p>"
        names = ("finding", "severity", "since step", "measured", "cause", "theory", "try")
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = [
            [
                f"<b>{escape(each.kind)}</b>",
                escape(each.severity_text()),
                str(each.since),
                *map(escape, split_sentence(each.cause)),
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
