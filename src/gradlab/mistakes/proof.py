"""The proof of a mistake: its symptom in the broken form and in the fixed one."""

import warnings
from dataclasses import dataclass

from gradlab.mistakes.material import seeded
from gradlab.mistakes.mistake import Builder, Mistake, Symptom


@dataclass(frozen=True)
class Proof:
    """What was measured of both forms."""

    mistake: Mistake
    broken: Symptom
    fixed: Symptom

    @property
    def holds(self) -> bool:
        """Whether the fixed form is within the bound, and the broken one is not."""
        return self.mistake.holds(self.fixed) and not self.mistake.holds(self.broken)


def prove(mistake: Mistake, seed: int = 0) -> Proof:
    """Run both forms of a mistake; torch's generator is left as it was."""
    return Proof(
        mistake, *(_measure(mistake, form, seed) for form in (mistake.broken, mistake.fixed))
    )


def _measure(mistake: Mistake, form: Builder, seed: int) -> Symptom:
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of some mistakes: it is their number we want
        return mistake.symptom(form(seed))
