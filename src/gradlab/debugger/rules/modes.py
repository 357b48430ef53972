"""The mode in which a model is trained, and what its training keeps alive."""

from gradlab.debugger.finding import Finding
from gradlab.debugger.observe.trace import Backward, Trace


def evaluation(trace: Trace) -> list[Finding]:
    """Find training in evaluation mode, in which dropout and batch norm do nothing."""
    passes = trace.all(Backward)
    asleep = [each for each in passes if each.asleep]
    if len(passes) < 2 or passes[-2:] != asleep[-2:]:
        return []
    kinds = ", ".join(sorted({kind for each in asleep for kind in each.asleep}))
    place, slept = asleep[-1].place, asleep[-1].slept
    called = f"; eval() was last called at {slept}" if slept else ""
    return [
        Finding(
            "eval_left_on",
            "the model is trained in evaluation mode",
            f"{place}: {place.code}",
            f"at {len(asleep)} of {len(passes)} backward passes, all modules that learn were in "
            f"evaluation mode, among them {kinds}{called}",
            "model.train() before training, and again after every evaluation",
        )
    ]


def memory(trace: Trace) -> list[Finding]:
    """Find graphs that are still alive when their step is long over."""
    old = [update for update in trace.alive if update <= trace.updates - 2]
    if trace.updates < 4 or len(old) < trace.updates - 1:
        return []
    place = trace.alive[old[0]]
    return [
        Finding(
            "kept_graph",
            "every step's graph is kept alive: memory grows with each of them",
            f"{place}: {place.code}",
            f"after {trace.updates} updates the graphs of {len(old) + 1} of them are still "
            "referenced: what is made at this line was kept, or added to a total, with its history",
            "keep numbers: losses.append(loss.item()), total += loss.item()",
        )
    ]
