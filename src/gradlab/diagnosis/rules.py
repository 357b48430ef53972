"""All rules: each a pure function, a record in, at most one finding out.

Every rule compares layers with each other, a step with an earlier one, or a number with what the
dtype or the optimiser can hold, so that a factor on the loss, taken out of the learning rate again,
changes nothing.
"""

from collections.abc import Callable

from gradlab.diagnosis.depth import exploding, vanishing
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.nonfinite import overflow
from gradlab.diagnosis.optimiser import below_eps, clipping
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.silent import silent
from gradlab.diagnosis.time import exploding_in_time, vanishing_in_time
from gradlab.diagnosis.training import growing, starved, unstable
from gradlab.diagnosis.underflow import underflow
from gradlab.diagnosis.units import dead, saturated, symmetric

Rule = Callable[[Record], Finding | None]

RULES: tuple[Rule, ...] = (
    overflow,
    silent,
    symmetric,
    dead,
    exploding,
    vanishing,
    exploding_in_time,
    vanishing_in_time,
    underflow,
    saturated,
    unstable,
    growing,  # after what may be its reason
    starved,
    below_eps,
    clipping,
)
"""In the order in which they name a run: the first finding that is no note is the verdict."""
