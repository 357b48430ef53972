"""The activation that theory is asked about, by name."""

from gradlab.errors import PredictionError, nearest
from gradlab.reference.activations import ACTIVATIONS, Activation


def find(name: str) -> Activation:
    """Return an activation by name.

    Raises:
        PredictionError: it is not one of gradlab's own.
    """
    if name not in ACTIVATIONS:
        raise PredictionError(f"activation={name} is not known; {nearest(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]
