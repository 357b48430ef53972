"""All rules: each a pure function, a record in, at most one finding out.

Every rule compares layers with each other, a step with an earlier one, or a number with what the
dtype or the optimiser can hold, so that a factor on the loss, taken out of the learning rate again,
changes nothing.
"""

from collections.abc import Callable

from gradlab.diagnose.depth import exploding, vanishing
from gradlab.diagnose.finding import Finding
from gradlab.diagnose.nonfinite import overflow
from gradlab.diagnose.optimiser import below_eps, clipping
from gradlab.diagnose.record import Record
from gradlab.diagnose.silent import silent
from gradlab.diagnose.training import growing, starved, unstable
from gradlab.diagnose.underflow import underflow
from gradlab.diagnose.units import dead, saturated, symmetric

Rule = Callable[[Record], Finding | None]

RULES: tuple[Rule, ...] = (
    overflow,
    silent,
    symmetric,
    dead,
    exploding,
    vanishing,
    underflow,
    saturated,
    unstable,
    growing,  # after what may be its reason
    starved,
    below_eps,
    clipping,
)
"""In the order in which they name a run: the first finding that is no note is the verdict."""
