"""Optimisers of a stack: each member gets the same updates as when it trains alone.

An elementwise optimiser updates each entry from the gradients of this entry only. One such
optimiser can update all members at once. Any other optimiser (Adafactor, Muon, LBFGS) must get the
tensors of one member, in their original shapes. `is_elementwise` measures which case holds.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from gradlab.config.choices import Component, locate, wrap_errors
from gradlab.training.stack import Stack
from gradlab.training.stack_parameters import Named

EXACT = (torch.float32, torch.float64)
PROBE_SHAPES = ((4, 3), (4,), (2, 4), (2,))
PROBE_STEPS = 8
PROBE_TOLERANCE = 1e-9  # relative; a rounding error in float64 is 1e-16

Evaluate = Callable[[int], tuple[Tensor, Named]]
"""Computes a member's loss, a scalar, and its clipped gradients, [1, ...], keyed by dotted name."""


def make_updates(
    optims: Sequence[Component], stack: Stack, evaluate: Evaluate
) -> "StackedUpdates | MemberUpdates":
    """Make the optimisers of a stack whose members differ at most in their learning rates.

    Args:
        optims: Optimiser of each member.
        stack: The members.
        evaluate: Evaluates a member again, for an optimiser that needs several gradients per step.

    Returns:
        An object that updates all members.

    Raises:
        SettingsError: The optimiser cannot update these parameters.
    """
    if is_elementwise(optims[0]):
        return StackedUpdates(optims, stack.parameters.blocks)
    return MemberUpdates(optims, stack, evaluate)


class StackedUpdates:
    """One elementwise optimiser for all members.

    Neighbours with equal learning rates share a parameter group.

    Args:
        optims: Optimiser of each member.
        blocks: Parameters of all members, [M, ...].
    """

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
        """Update all members, including stopped ones, since no member affects another.

        Args:
            grads: Clipped gradients of the mean loss, in the layout of the stack's `blocks`.
            loss_M: Loss of each member; not used.
            alive_M: Members that have not stopped; not used.
        """
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
    """An optimiser for each member, with the member's tensors in their original shapes.

    Args:
        optims: Optimiser of each member.
        stack: The members.
        evaluate: Evaluates a member again, for an optimiser that needs several gradients per step.

    Raises:
        SettingsError: The optimiser refuses the parameters of the members.
    """

    def __init__(self, optims: Sequence[Component], stack: Stack, evaluate: Evaluate) -> None:
        self._stack, self._evaluate = stack, evaluate
        self._needs_closure = needs_closure(optims[0])
        self._rehearse(optims[0])
        self._params = [
            [param[member].requires_grad_() for param in stack.params.values()]  # views of `memory`
            for member in range(stack.size)
        ]
        self._optimisers: list[Any] = [
            optim.call(params) for optim, params in zip(optims, self._params, strict=True)
        ]

    def step(self, grads: Sequence[Tensor], loss_M: Tensor, alive_M: Tensor) -> None:
        """Update each member that has not stopped.

        Args:
            grads: Clipped gradients of the mean loss, in the layout of the stack's `blocks`.
            loss_M: Loss of each member before the update.
            alive_M: Members that have not stopped.
        """
        named = self._stack.parameters.name_blocks(grads)
        for member, alive in enumerate(alive_M.tolist()):
            if alive:
                _set_grads(self._params[member], [grad[member] for grad in named.values()])
                loss = loss_M[member].detach()
                closure = [self._closure(member, loss)] if self._needs_closure else []
                self._optimisers[member].step(*closure)

    @property
    def rates(self) -> list[float]:
        """Each member's learning rate."""
        return [float(each.param_groups[0]["lr"]) for each in self._optimisers]

    def _closure(self, member: int, loss: Tensor) -> Callable[[], Tensor]:
        """Return a closure for `step`; its first call returns the known loss."""
        known = [loss]

        def closure() -> Tensor:
            if known:  # `.grad` is set, too
                return known.pop()
            new_loss, named = self._evaluate(member)
            _set_grads(self._params[member], [grad[0] for grad in named.values()])
            return new_loss

        return closure

    def _rehearse(self, optim: Component) -> None:
        """Update a copy of one member; raise SettingsError if the optimiser refuses it."""
        with wrap_errors(f"optim={optim.name} cannot train this network"), torch.no_grad():
            params = [p[0].clone().requires_grad_() for p in self._stack.params.values()]
            optimiser = optim.call(params)
            _set_grads(params, [torch.full_like(param, 1e-3) for param in params])
            optimiser.step(lambda: torch.ones(())) if self._needs_closure else optimiser.step()


def needs_closure(optim: Component) -> bool:
    """Return whether an optimiser evaluates the loss several times per step, as LBFGS does."""
    step = getattr(locate(optim.target or ""), "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    return closure is not None and closure.default is inspect.Parameter.empty


def is_elementwise(optim: Component) -> bool:
    """Return whether an optimiser updates each entry from the gradients of this entry only.

    The test trains two tiny networks for a few steps in float64, in three arrangements: each tensor
    in its original shape; both networks stacked; all entries of a network in one row. The optimiser
    is elementwise if the results agree to rounding error. Each optimiser is tested once.

    Args:
        optim: The optimiser; its learning rate does not matter.

    Returns:
        The result; False if the optimiser refuses dense gradients or an arrangement.
    """
    options = {key: 0.01 if key == "lr" else value for key, value in optim.params.items()}
    key = optim.target or "", repr(sorted(options.items()))
    if key not in _measured:
        try:
            _measured[key] = _agrees(Component(optim.name, optim.target, options))
        except Exception:  # `MemberUpdates` will raise an error with the reason
            _measured[key] = False
    return _measured[key]


_measured: dict[tuple[str, str], bool] = {}

Arrangement = Callable[[Sequence[Tensor]], list[list[Tensor]]]
"""Converts tensors [M, ...] to lists of tensors, one list for each optimiser."""


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
        separate = _train(optim, start, grads, _separate)
        expected = [torch.stack(tensors) for tensors in zip(*separate, strict=True)]
        return all(
            torch.allclose(_entries(trained), _entries(arrange(expected)), PROBE_TOLERANCE, 1e-12)
            for arrange in (_stack, _flatten)
            for trained in [_train(optim, start, grads, arrange)]
        )


def _train(
    optim: Component,
    start: Sequence[Tensor],
    grads: Sequence[Sequence[Tensor]],
    arrange: Arrangement,
) -> list[list[Tensor]]:
    """Train parameters in an arrangement, with given gradients.

    Args:
        optim: The optimiser.
        start: Initial parameters, [M, ...].
        grads: Gradients of each step, [M, ...].
        arrange: Makes the list of tensors for each optimiser.

    Returns:
        The trained parameters of each optimiser.
    """
    params = [[t.clone().requires_grad_() for t in tensors] for tensors in arrange(start)]
    optimisers = [optim.call(tensors) for tensors in params]
    for each in grads:
        for optimiser, tensors, arranged in zip(optimisers, params, arrange(each), strict=True):
            _set_grads(tensors, arranged)
            optimiser.step()
    return [[t.detach() for t in tensors] for tensors in params]


def _separate(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [list(member) for member in zip(*tensors, strict=True)]


def _stack(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [list(tensors)]


def _flatten(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    return [[torch.cat([t.flatten() for t in member])[None]] for member in _separate(tensors)]


def _entries(arranged: Iterable[Iterable[Tensor]]) -> Tensor:
    return torch.cat([t.flatten() for tensors in arranged for t in tensors])


def _set_grads(params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad


def _fused(optim: Component, dtype: torch.dtype) -> dict[str, bool]:
    """Select the fused form of torch's optimisers, with one pass over memory instead of up to ten.

    In half precision the fused form (torch 2.13, CPU) loses small updates of small weights, so it
    is not used.

    Returns:
        The keyword argument that selects the fused form; empty without one.
    """
    if dtype not in EXACT or not (optim.target or "").startswith("torch.optim."):
        return {}
    accepted = inspect.signature(locate(optim.target or "")).parameters
    return {"fused": True} if "fused" in accepted else {}
