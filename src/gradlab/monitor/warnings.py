"""What could not be seen, in words."""

from collections.abc import Sequence

from gradlab.monitor.attach import Site
from gradlab.monitor.step import Round

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
        f"no signals from {len(silent)} of {len(sites)} modules, which run inside torch.compile, "
        f"without being called, without a backward(), or give no dense tensor: {names}; of these, "
        "parameters alone are recorded"
    ]


def skipping(steps: int) -> list[str]:
    """Say how many steps a `GradScaler` has skipped; nothing, if none."""
    if not steps:
        return []
    if steps == 1:
        return ["1 step was skipped by a GradScaler, and is not in the record"]
    return [f"{steps} steps were skipped by a GradScaler, and are not in the record"]


def strange(optimizer: str | None) -> list[str]:
    """Say why nothing is recorded; nothing, if nobody else made the steps."""
    if optimizer is None:
        return []
    return [
        f"nothing was recorded: the steps were made by an optimiser ({optimizer}) that is none of "
        "those given to gradlab.watch; give that one, or none for any"
    ]
