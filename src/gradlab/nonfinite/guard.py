"""Watch a training for numbers that are not finite, and locate the first of them."""

import math
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from gradlab.nonfinite.fault import Fault
from gradlab.nonfinite.location import Trained, concerns, fault_of_parameter, locate
from gradlab.nonfinite.recorded_calls import CallRecorder, tensors_of
from gradlab.nonfinite.replay import Replay
from gradlab.nonfinite.tensor_range import all_finite
from gradlab.nonfinite.user_code import Place, running_places
from gradlab.recording.patches import wrap

MOST = 4  # located faults of a training; later ones follow from the first


class NonfiniteGuard:
    """Checks loss and gradients in each backward pass; locates the first that is not finite.

    On the CPU the check is made at once. On another device it would wait, so it is made just
    before an update for which `may_wait` returns True; until then only the numbers of the last
    backward pass are available for the location.

    Args:
        parameters: Returns the trained parameters, by name.
        modules: Returns names of modules, by id.
        step: Returns the number of optimiser steps so far.
        repeats: Whether a step may be repeated to locate a fault.
        may_wait: Returns whether the check may wait for the device in this step.
        pause: Opens a context in which no other recorder observes the repeated step.
        on_failure: Called with an exception of this class; the checks end, the training continues.
        on_replay: Receives each repeated step with all its operations.
        recorder: Records the calls; None for a new one.

    Attributes:
        faults: The located faults.
        recorder: Records the calls of the steps.
        norms: The norms of the gradients after the last backward pass, one for each parameter with
            a gradient; None if the loss was not finite.
    """

    # attributes: the callbacks of its owner, and the state of the current backward pass

    def __init__(
        self,
        parameters: Callable[[], Mapping[str, Tensor]],
        modules: Callable[[], Mapping[int, str]],
        step: Callable[[], int],
        *,
        repeats: bool = True,
        may_wait: Callable[[], bool] = lambda: True,
        pause: Callable[[], AbstractContextManager[Any]] = nullcontext,
        on_failure: Callable[[Exception], None] = lambda _: None,
        on_replay: Callable[[Replay], None] | None = None,
        recorder: CallRecorder | None = None,
    ) -> None:
        self.faults: list[Fault] = []
        self.recorder = CallRecorder() if recorder is None else recorder
        self.norms: Tensor | None = None
        self._parameters, self._modules, self._step = parameters, modules, step
        self._repeats, self._may_wait = repeats, may_wait
        self._pause, self._on_failure = pause, on_failure
        self._on_replay = on_replay
        self._optimizers: WeakSet[Optimizer] = WeakSet()
        self._state = _Passes()

    @contextmanager
    def observe(self, modules: Iterable[nn.Module] | None = None) -> Generator[None]:
        """Check the training until the context closes.

        Args:
            modules: The modules of the network; None for all modules of the program.
        """
        with ExitStack() as stack:
            stack.enter_context(self.recorder.observe(modules))
            stack.enter_context(wrap(torch.autograd, "backward", self._backward))
            stack.callback(register_optimizer_step_pre_hook(self._before_update).remove)
            yield

    @property
    def roots(self) -> list[nn.Module]:
        """The modules that code outside of modules has called."""
        return [*self.recorder.roots]

    def finish(self) -> None:
        """Check the parameters after the last update, unless a fault is known."""
        if self.faults or self._state.failed or not self._step():
            return
        for name, p in self._parameters().items():
            if not all_finite(p.detach()):
                effect = "the weights are not finite"
                self._add(fault_of_parameter(name, p, self._trained(), self._step(), effect))
                return

    def _trained(self) -> Trained:
        parameters, modules = self._parameters(), self._modules()
        return Trained(parameters, modules, [*self._optimizers], self._state.places)

    def _backward(
        self,
        original: Callable[..., Any],
        tensors: Any,
        grad_tensors: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        state = self._state
        if state.depth or state.failed or len(self.faults) >= MOST:
            return original(tensors, grad_tensors, *args, **kwargs)
        roots = [*tensors_of(tensors)]
        grads = _as_list(grad_tensors) if grad_tensors is not None else [None] * len(roots)
        at_once, self.norms = not _waits(roots), None
        bad = at_once and self._guarded(self._check_roots, roots, grads)
        state.depth += 1
        try:
            return original(tensors, grad_tensors, *args, **kwargs)
        finally:
            state.depth -= 1
            if at_once and not bad:
                self._guarded(self._check_gradients, roots, grads)
            elif not at_once:
                self._guarded(self._postpone, roots, grads)

    def _guarded(self, check: Callable[..., bool], *args: Any) -> bool:
        """Run a check; after an exception in it, no check runs again."""
        if self._state.failed:
            return False
        try:
            return check(*args)
        except Exception as error:
            self._state.failed = True
            self._on_failure(error)
            return False

    def _check_roots(self, roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        """Locate the origin of a loss that is not finite; return whether there is one."""
        bad = [root for root in roots if not _is_finite(root)]
        if not bad:
            return False
        value = "NaN" if bool(bad[0].detach().isnan().any()) else "inf"
        self._locate(roots, grads, f"the loss is {value}", True)
        return True

    def _check_gradients(self, roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        """Locate the origin of gradients that are not finite; return whether there are any."""
        named = {n: p.grad for n, p in self._parameters().items() if p.grad is not None}
        self.norms = _norms(list(named.values()))
        if bool(self.norms.isfinite().all()):
            self._state.is_bad = False
            return False
        bad = [n for n, g in named.items() if not all_finite(g.detach())]
        if bad:
            effect = f"the gradients of {len(bad)} of {len(named)} parameters are NaN or inf"
            if len(bad) == 1:
                effect = f"the gradient of `{bad[0]}` is NaN or inf"
            self._locate(roots, grads, effect, False)
        else:
            self._state.is_bad = False
        return bool(bad)

    def _locate(
        self, roots: Sequence[Tensor], grads: Sequence[Tensor | None], effect: str, of_loss: bool
    ) -> None:
        """Locate a fault, unless the backward pass before had one too."""
        if self._state.is_bad:
            return
        self._state.is_bad = True
        trained = self._trained()
        if of_loss and not concerns(roots, trained):
            return
        found = None
        self.recorder.paused = True
        try:
            if self._repeats:
                with self._pause():
                    found = locate(roots, grads, trained, self._step(), effect, self._on_replay)
        finally:
            self.recorder.paused = False
        self._add(found or Fault(self._step(), "unknown", effect, exact=False))

    def _add(self, fault: Fault) -> None:
        self.faults.append(fault)

    # Devices on which a check waits

    def _postpone(self, roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        """Compute the check of a backward pass on the device, and leave its result there."""
        given = [p.grad for p in self._parameters().values() if p.grad is not None]
        parts = [root.detach().double().sum().reshape(1) for root in roots]
        self.norms = _norms(given)
        parts += [self.norms] if given else []
        flag = torch.cat([x.to(parts[0].device).double() for x in parts]).isfinite().all()
        before = self._state.pending
        worst = flag if before is None else before[2] & flag
        self._state.pending = (roots, grads, worst, flag)
        return False

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Read the postponed checks before an update, while it has not changed the weights."""
        self._optimizers.add(optimizer)
        self._state.places = running_places(sys._getframe(1))  # pyright: ignore
        pending = self._state.pending
        if pending is None:
            return
        if not self._may_wait():
            self._state.pending = ([], [], pending[2], pending[3])  # frees the graph
            return
        self._state.pending = None
        if bool(pending[2]):
            self._state.is_bad = False
        elif pending[0] and not bool(pending[3]):
            self._guarded(self._check_postponed, pending[0], pending[1])
        else:
            effect = "the loss or a gradient is NaN or inf in this or an earlier step"
            self._add(Fault(self._step(), "unknown", effect, exact=False))

    def _check_postponed(self, roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        return self._check_roots(roots, grads) or self._check_gradients(roots, grads)


class _Passes:
    """The state of the backward passes.

    Attributes:
        depth: Number of running backward passes, one inside another.
        is_bad: Whether the last checked pass had a number that is not finite.
        failed: Whether an exception has ended the checks.
        places: The line of the last optimiser's step.
        pending: Roots and gradients of the last pass; whether all passes since the last update and
            whether the last pass were finite, on the device.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.is_bad = False
        self.failed = False
        self.places: tuple[Place, ...] = ()
        self.pending: tuple[Sequence[Tensor], Sequence[Tensor | None], Tensor, Tensor] | None = None


def _as_list(grads: Any) -> list[Tensor | None]:
    return [grads] if isinstance(grads, Tensor) else [*grads]


def _waits(roots: Sequence[Tensor]) -> bool:
    """Return whether reading a number of these tensors waits for a device."""
    return any(root.device.type != "cpu" for root in roots)


def _is_finite(x: Tensor) -> bool:
    return math.isfinite(x.item()) if x.numel() == 1 and not x.is_complex() else all_finite(x)


def _norms(grads: Sequence[Tensor]) -> Tensor:
    """Return a number for each gradient that is finite only if its entries are; one transfer."""
    dense = [g.detach().coalesce().values() if g.is_sparse else g.detach() for g in grads]
    if not dense:
        return torch.zeros(0)
    norms = torch._foreach_norm(dense)  # pyright: ignore
    return torch.stack([n.float().to(norms[0].device) for n in norms])
