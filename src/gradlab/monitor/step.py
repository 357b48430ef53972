"""What is known of one step: of each parameter before, at and after its update."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.optim.optimizer import Optimizer

from gradlab.monitor.attach import Site
from gradlab.monitor.calls import Call
from gradlab.monitor.distributed import whole
from gradlab.monitor.parameters import Reading, moved, of_bias, of_weight
from gradlab.monitor.tensor_norms import size_of
from gradlab.recording.rows import NULL


@dataclass
class Round:
    """What is known of a step; parameters by their id.

    Attributes:
        step: rounds before it.
        sites: whose weights are told of one by one.
        recorded: whether it is one to be recorded.
        calls: of the sites, up to the last optimiser's update.
        losses: of the backward passes.
        lr: of the first optimiser's first group, `NULL` if it has none.
        readings: of gradients.
        clipped: norms of gradients after clipping, of those that were.
        before: weights, until the update.
        weights: norms of the weights before it.
        moved: norms of what it added.
        stepped: optimisers that have made their update.
    """

    step: int
    sites: Sequence[Site]
    recorded: bool
    calls: list[Call] = field(default_factory=list[Call])
    losses: list[Tensor] = field(default_factory=list[Tensor])
    lr: float = NULL
    readings: dict[int, Reading] = field(default_factory=dict[int, Reading])
    clipped: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    before: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    weights: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    moved: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    stepped: list[Optimizer] = field(default_factory=list[Optimizer])

    def remember(self) -> None:
        """Keep the weights as they are before any update."""
        for p in self._weights():
            if id(p) not in self.weights:
                full = whole(p.detach())
                self.weights[id(p)] = size_of(full)
                if p.requires_grad:
                    self.before[id(p)] = full.clone()

    def read(self, p: Tensor, scale: Tensor | None) -> None:
        """Read the gradient of a parameter, which is multiplied by a scale."""
        if p.grad is None:
            return
        grad = whole(p.grad)
        grad = grad.to_dense() if grad.is_sparse else grad
        kinds = self._kinds.get(id(p))
        found = of_weight(grad, kinds) if kinds else of_bias(grad)
        if scale is not None:
            found = found._replace(norm=found.norm / scale.to(found.norm.device))
        self.readings[id(p)] = found

    @cached_property
    def _kinds(self) -> dict[int, set[bool]]:
        """Of each weight, whether its units are its second dimension; a tied one may be both."""
        kinds: dict[int, set[bool]] = defaultdict(set)
        for site in self.sites:
            for p in site.all_weights():
                kinds[id(p)].add(site.units_second)
        return kinds

    def read_clipped(self, parameters: Iterable[Tensor]) -> None:
        """Take the norms of gradients that have been read, and then clipped."""
        for p in parameters:
            if p.grad is not None:
                self.clipped[id(p)] = size_of(whole(p.grad))

    def settle(self) -> None:
        """Take the norms of what the updates added, and let the weights go."""
        for p in self._weights():
            if id(p) in self.before:
                self.moved[id(p)] = moved(self.before.pop(id(p)), whole(p.detach()))
        self.before.clear()

    def _weights(self) -> Iterator[Tensor]:
        for site in self.sites:
            yield from site.all_weights()
