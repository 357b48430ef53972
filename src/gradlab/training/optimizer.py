"""Optimisers of a stack: each member gets the updates that torch's optimiser makes for it alone.

An elementwise optimiser updates an entry from the history of that entry only. Then one optimiser
can update all members at once, whatever the shapes of the tensors. Any other optimiser (Adafactor,
Muon, LBFGS) sees the tensors of one member at a time, in their true shapes. `is_elementwise`
measures which case holds.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from gradlab.config.choices import Component, locate, wrap_errors
from gradlab.training.stack import Stack
from gradlab.training.stack_parameters import Named

EXACT = (torch.float32, torch.float64)
PROBE_SHAPES = ((4, 3), (4,), (2, 4), (2,))
PROBE_STEPS = 8
PROBE_TOLERANCE = 1e-9  # relative: in float64, one rounding is 1e-16

Evaluate = Callable[[int], tuple[Tensor, Named]]
"""Returns a member's loss, a scalar, and its clipped gradients, [1, ...] by name, both anew."""


class Updates(Protocol):
    """Updates the parameters of all members."""

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        ...

    def step(self, grads: Sequence[Tensor], loss_M: Tensor, alive_M: Tensor) -> None:
        """Make one update.

        Args:
            grads: clipped gradients, laid out as the stack's `blocks`.
            loss_M: each member's loss before the update.
            alive_M: which members may be updated; the others may be skipped.
        """
        ...


def make_updates(optims: Sequence[Component], stack: Stack, evaluate: Evaluate) -> Updates:
    """Return the updates of a stack whose members differ at most in their learning rates.

    Args:
        optims: each member's optimiser.
        stack: the members.
        evaluate: evaluates a member again, for an optimiser that needs more than one gradient.

    Raises:
        SettingsError: the optimiser cannot update such parameters.
    """
    if is_elementwise(optims[0]):
        return StackedUpdates(optims, stack.parameters.blocks)
    return MemberUpdates(optims, stack, evaluate)


class StackedUpdates:
    """One elementwise optimiser for all members; equal learning rates share a parameter group."""

    def __init__(self, optims: Sequence[Component], blocks: Sequence[Tensor]) -> None:
        rates = [optim.params.get("lr") for optim in optims]
        self._group_of = [0] * len(rates)
        self._parts: list[tuple[slice, list[Tensor]]] = []
        groups: list[dict[str, Any]] = []
        for rate, equal in groupby(range(len(rates)), key=rates.__getitem__):
            members = list(equal)
            rows = slice(members[0], members[-1] + 1)
            params = [block[rows].requires_grad_() for block in blocks]  # views of the blocks
            self._parts.append((rows, params))
            self._group_of[rows] = [len(groups)] * len(members)
            groups.append({"params": params, **({} if rate is None else {"lr": rate})})
        self._optimiser: Any = optims[0].call(groups, **_fused(optims[0], blocks[0].dtype))

    def step(self, grads: Sequence[Tensor], loss_M: Tensor, alive_M: Tensor) -> None:
        """Update all members, whether alive or not: no member affects another."""
        for rows, params in self._parts:
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad[rows]
        self._optimiser.step()

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        groups = self._optimiser.param_groups
        return [float(groups[group]["lr"]) for group in self._group_of]


class MemberUpdates:
    """One optimiser per member, with the member's tensors in their true shapes."""

    def __init__(self, optims: Sequence[Component], stack: Stack, evaluate: Evaluate) -> None:
        self._stack, self._evaluate = stack, evaluate
        self._closure = needs_closure(optims[0])
        self._rehearse(optims[0])
        self._params = [
            [param[member].requires_grad_() for param in stack.params.values()]  # views of `memory`
            for member in range(stack.size)
        ]
        self._optimisers: list[Any] = [
            optim.call(params) for optim, params in zip(optims, self._params, strict=True)
        ]

    def step(self, grads: Sequence[Tensor], loss_M: Tensor, alive_M: Tensor) -> None:
        """Update each member that is alive."""
        named = self._stack.parameters.name_blocks(grads)
        for member, alive in enumerate(alive_M.tolist()):
            if alive:
                own = [grad[member] for grad in named.values()]
                self._step_member(member, own, loss_M[member].detach())

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        return [float(each.param_groups[0]["lr"]) for each in self._optimisers]

    def _step_member(self, member: int, grads: Sequence[Tensor], loss: Tensor) -> None:
        _set_grads(self._params[member], grads)
        if not self._closure:
            self._optimisers[member].step()
            return
        first = [loss]

        def closure() -> Tensor:
            if first:  # the loss and the gradient at hand
                return first.pop()
            again, named = self._evaluate(member)
            _set_grads(self._params[member], [grad[0] for grad in named.values()])
            return again

        self._optimisers[member].step(closure)

    def _rehearse(self, optim: Component) -> None:
        """Raise SettingsError with the optimiser's reason if it refuses one member's tensors."""
        with wrap_errors(f"optim={optim.name} cannot train this network"), torch.no_grad():
            params = [p[0].clone().requires_grad_() for p in self._stack.params.values()]
            optimiser = optim.call(params)
            _set_grads(params, [torch.full_like(param, 1e-3) for param in params])
            optimiser.step(lambda: torch.ones(())) if self._closure else optimiser.step()


def needs_closure(optim: Component) -> bool:
    """Return whether an optimiser evaluates the loss several times per step, as LBFGS does."""
    step = getattr(locate(optim.target or ""), "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    return closure is not None and closure.default is inspect.Parameter.empty


def is_elementwise(optim: Component) -> bool:
    """Return whether an optimiser updates each entry from the gradients of that entry alone.

    Measured once per optimiser and options, with some steps of two tiny networks in float64: tensor
    by tensor in their true shapes; with both networks stacked; and with all entries of a network
    in one row. The optimiser is elementwise if the three agree to rounding.

    Args:
        optim: the optimiser; its learning rate does not matter.

    Returns:
        False also for an optimiser that refuses dense gradients or one of the three shapes.
    """
    options = {key: 0.01 if key == "lr" else value for key, value in optim.params.items()}
    key = optim.target or "", repr(sorted(options.items()))
    if key not in _measured:
        try:
            _measured[key] = _agrees(Component(optim.name, optim.target, options))
        except Exception:  # the rehearsal on the real tensors will give the reason
            _measured[key] = False
    return _measured[key]


_measured: dict[tuple[str, str], bool] = {}

Arrangement = Callable[[Sequence[Tensor]], list[list[Tensor]]]
"""Turns tensors [M, ...] into the tensors that each of some optimisers receives."""


def _agrees(optim: Component) -> bool:
    if needs_closure(optim):
        return False
    generator = torch.Generator().manual_seed(0)

    def draw(scale: float) -> list[Tensor]:
        members = torch.tensor([1.0, 30.0], dtype=torch.float64)
        return [
            torch.randn(2, *shape, generator=generator, dtype=torch.float64)
            * (scale * members.view(2, *[1] * len(shape)))
            for shape in PROBE_SHAPES
        ]

    start = draw(1.0)
    grads = [draw(10.0 ** (step % 5 - 2)) for step in range(PROBE_STEPS)]
    with torch.random.fork_rng(devices=[]):
        separate = _trained(optim, start, grads, _separate)
        expected = [torch.stack(tensors) for tensors in zip(*separate, strict=True)]
        return all(
            torch.allclose(_entries(found), _entries(arrange(expected)), PROBE_TOLERANCE, 1e-12)
            for arrange in (_stacked, _flattened)
            for found in [_trained(optim, start, grads, arrange)]
        )


def _trained(
    optim: Component,
    start: Sequence[Tensor],
    grads: Sequence[Sequence[Tensor]],
    arrange: Arrangement,
) -> list[list[Tensor]]:
    """Return the parameters after some steps, one optimiser for each list of the arrangement."""
    params = [[t.clone().requires_grad_() for t in tensors] for tensors in arrange(start)]
    optimisers = [optim.call(tensors) for tensors in params]
    for each in grads:
        for optimiser, tensors, own in zip(optimisers, params, arrange(each), strict=True):
            _set_grads(tensors, own)
            optimiser.step()
    return [[t.detach() for t in tensors] for tensors in params]


def _separate(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [list(member) for member in zip(*tensors, strict=True)]


def _stacked(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [list(tensors)]


def _flattened(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [[torch.cat([t.flatten() for t in member])[None]] for member in _separate(tensors)]


def _entries(arranged: Iterable[Iterable[Tensor]]) -> Tensor:
    return torch.cat([t.flatten() for tensors in arranged for t in tensors])


def _set_grads(params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad


def _fused(optim: Component, dtype: torch.dtype) -> dict[str, bool]:
    """Select the fused form of torch's own optimisers: one pass over memory instead of up to ten.

    Not in half precision: there the fused form (of torch 2.13, on a CPU) rounds differently, and
    loses small updates of small weights that the plain form makes.
    """
    if dtype not in EXACT or not (optim.target or "").startswith("torch.optim."):
        return {}
    accepted = inspect.signature(locate(optim.target or "")).parameters
    return {"fused": True} if "fused" in accepted else {}
