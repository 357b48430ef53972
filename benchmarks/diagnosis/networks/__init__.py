"""The networks of the examination, and which of them are held out.

`TRAINING` is for whoever sets the thresholds of a rule; `HELD_OUT`, every third network of each
label, is for judging them.
"""

from diagnosis.networks.depth import EXPLODING, VANISHING
from diagnosis.networks.healthy import HEALTHY
from diagnosis.networks.mixtures import MIXTURES
from diagnosis.networks.network import LABELS, Network
from diagnosis.networks.numbers import OVERFLOW, UNDERFLOW
from diagnosis.networks.steps import BELOW_EPS, STARVED, UNSTABLE
from diagnosis.networks.units import DEAD, SATURATED, SYMMETRIC

STRATA = (
    HEALTHY,
    VANISHING,
    EXPLODING,
    DEAD,
    SATURATED,
    UNDERFLOW,
    OVERFLOW,
    STARVED,
    UNSTABLE,
    BELOW_EPS,
    SYMMETRIC,
    MIXTURES,
)
NETWORKS = [each for stratum in STRATA for each in stratum]
HELD_OUT = [each for stratum in STRATA for each in stratum[2::3]]
TRAINING = [each for each in NETWORKS if each not in HELD_OUT]

__all__ = ["HELD_OUT", "LABELS", "NETWORKS", "STRATA", "TRAINING", "Network"]
