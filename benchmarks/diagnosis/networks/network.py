"""A network of the benchmark, with the labels that are known before it is trained."""

from dataclasses import dataclass

LABELS = (
    "healthy",
    "vanishing",
    "exploding",
    "dead",
    "saturated",
    "underflow",
    "overflow",
    "starved",
    "unstable",
    "below_eps",
    "symmetric",
)
"""What a network can be; the sick ones may be several of these."""

COMMON = ("tracking=none", "record.every=5", "train.steps=60")


@dataclass(frozen=True)
class Network:
    """One case.

    Attributes:
        name: unique.
        changes: Hydra overrides on top of `COMMON`, as `gradlab run` takes them.
        truth: the labels that are right; a network with several is right by any of them.
        degree: "none", "mild" or "severe".
        why: how the truth is known.
    """

    name: str
    changes: str
    truth: frozenset[str]
    degree: str
    why: str

    @property
    def overrides(self) -> list[str]:
        """Return all overrides; later ones win."""
        return [*COMMON, *self.changes.split()]

    @property
    def stratum(self) -> str:
        """Return the label, or `mixture` for several."""
        return next(iter(self.truth)) if len(self.truth) == 1 else "mixture"

    @property
    def sick(self) -> bool:
        """Return whether the network has a fault."""
        return self.truth != {"healthy"}


def network(truth: str, name: str, degree: str, changes: str, why: str) -> Network:
    """Return a network; `truth` is a label, or several joined by +."""
    return Network(name, changes, frozenset(truth.split("+")), degree, why)
