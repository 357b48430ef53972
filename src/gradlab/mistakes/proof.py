"""The proof of a mistake: its symptom in the broken form and in the fixed one."""

import warnings
from dataclasses import dataclass

from gradlab.gradcheck.problem import one_thread
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

    @property
    def verdict(self) -> str:
        """Whether it holds, in words."""
        return "holds" if self.holds else "does not hold"

    @property
    def sound(self) -> str:
        """What a sound practice meets."""
        return f"{self.mistake.holds}{self.fixed.unit}"

    @property
    def happens(self) -> str:
        """What was measured of the broken form."""
        return f"{self.broken.name}: {self.broken}; sound is {self.sound}"

    @property
    def told(self) -> str:
        """The proof in a sentence."""
        both = f"{self.broken} broken, {self.fixed} fixed"
        return f"{both}; sound is {self.sound}: the proof {self.verdict}"


def prove(mistake: Mistake, seed: int = 0) -> Proof:
    """Run both forms of a mistake; torch's generator is left as it was."""
    return Proof(
        mistake, *(_measure(mistake, form, seed) for form in (mistake.broken, mistake.fixed))
    )


def _measure(mistake: Mistake, form: Builder, seed: int) -> Symptom:
    with seeded(seed), one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of some mistakes: it is their number we want
        return mistake.symptom(form(seed))
