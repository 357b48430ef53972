"""What a rule says of a run."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One pathology of one run, or of several that differ in their seed.

    Attributes:
        kind: one of `schema.KINDS`.
        where: positions of the layers concerned (1 = nearest the input), or of the time steps.
        since: first recorded step at which it was seen.
        severity: "note" (worth knowing, no sickness), "mild" or "gross".
        cause: a sentence, with the factors that make it up.
        evidence: the numbers behind it.
        remedies: overrides worth trying, most promising first. None has been tried on this run:
            `gradlab cure` does.
        confidence: of several runs, the share that shows it; None of one.
        axis: along which `where` counts: "depth", or "time" in a recurrent layer.
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
        return asdict(self)
