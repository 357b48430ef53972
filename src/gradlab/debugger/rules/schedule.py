"""The order of the learning-rate schedule and the optimiser."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Attempt, Schedule, Trace, Update


def schedule(trace: Trace) -> list[Finding]:
    """Find a schedule that is stepped before the optimiser's first update."""
    for first in trace.all(Schedule)[:1]:
        mine = [
            e
            for e in trace.events
            if isinstance(e, Update | Attempt) and e.optimizer == first.optimizer
        ]
        if not mine or trace.events.index(mine[0]) < trace.events.index(first):
            continue
        return [
            Finding(
                "schedule_before_step",
                "the schedule is stepped before the optimiser: the first learning rate is skipped",
                f"{first.place}: {first.place.code}",
                f"scheduler.step() came before the first optimizer.step() ({mine[0].place})",
                "optimizer.step() first, then scheduler.step()",
            )
        ]
    return []
