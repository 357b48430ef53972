"""What could not be seen, in words."""

from collections.abc import Sequence

from gradlab.lab.round import Round
from gradlab.lab.sites import Site

SHOWN = 5  # names


def silence(sites: Sequence[Site], found: Round) -> list[str]:
    """Say of which modules a step has a gradient, and no signal; nothing, if of none."""
    called = {call.site for call in found.calls}
    silent = [
        site.name
        for index, site in enumerate(sites)
        if index not in called and site.heard is not None
        if any(id(p) in found.readings for p in [*site.all_weights(), *site.all_biases()])
    ]
    if not silent:
        return []
    names = ", ".join(silent[:SHOWN]) + (", …" if len(silent) > SHOWN else "")
    return [
        f"no signals from {len(silent)} of {len(sites)} modules, which run inside torch.compile or "
        f"without being called: {names}; of these, parameters alone are recorded"
    ]


def skipping(steps: int) -> list[str]:
    """Say how many steps a `GradScaler` has skipped; nothing, if none."""
    if not steps:
        return []
    if steps == 1:
        return ["1 step was skipped by a GradScaler, and is not in the record"]
    return [f"{steps} steps were skipped by a GradScaler, and are not in the record"]
