"""`gradlab.watch`: put on a network that gradlab has never seen, in a loop that it does not run."""

from collections.abc import Sequence

from torch import nn
from torch.optim.optimizer import Optimizer

from gradlab.monitor.attach import Choice
from gradlab.monitor.monitor import Lab
from gradlab.sinks.protocol import Sink


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    every: int | str = 1,
    modules: Choice | Sequence[Choice] | None = None,
    sinks: Sink | Sequence[Sink] = (),
) -> Lab:
    """Return a context manager that records what gradients do in each module while it is open.

    The loop inside it stays as it is, and so does what it computes, to the last bit. Steps are the
    optimiser's; gradients of parameters are read once a step, when they are whole: accumulated,
    averaged over processes, unscaled, not yet clipped. See `docs/watch.md` for what each column of
    `gradlab.schema` means for a foreign module.

        with gradlab.watch(model, optimizer) as lab:
            for x, y in batches:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
        print(lab.diagnose())
        lab.report("out/")

    Args:
        model: any network, wrapped by `DistributedDataParallel`, `fully_shard` or `torch.compile`
            or not.
        optimizer: or several, of which each makes one update in a step; None takes every update of
            a parameter of the model, by whichever optimiser, for a step.
        every: steps from one record to the next, or "log": ten records a decade of steps.
        modules: which modules are told of: types, patterns of names ("h.*.mlp.*"), or predicates
            f(name, module); None takes all that own a weight of two or more dimensions.
        sinks: destinations of the rows besides memory, such as `gradlab.sinks.Parquet(folder)`.

    Raises:
        WatchError: the model is watched already or cannot be, or an argument is wrong.
    """
    return Lab(model, optimizer, every, modules, sinks)
