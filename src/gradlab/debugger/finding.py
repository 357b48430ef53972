"""What the doctor says of one mistake."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One mistake that a training step shows.

    Attributes:
        kind: the mistake's name; `gradlab mistakes NAME` tells more of those of the catalogue.
        what: what is wrong, in one sentence.
        where: file and line, or names of parameters or modules.
        evidence: how the doctor knows: what it saw or tried, in numbers.
        instead: what to write.
    """

    kind: str
    what: str
    where: str
    evidence: str
    instead: str

    def __str__(self) -> str:
        """Return the finding in four lines."""
        return (
            f"{self.kind}: {self.what}\n"
            f"  where      {self.where}\n"
            f"  evidence   {self.evidence}\n"
            f"  instead    {self.instead}"
        )
