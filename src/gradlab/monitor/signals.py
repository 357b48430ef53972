"""The ear at a network's modules: what passes forward through each site, and back.

Hooks are on the modules only while the network is watched. A value counts when its gradient has
come, in a `backward()`: so evaluation, and the first pass of a checkpoint that is made again, leave
nothing, and neither do gradients that are asked for by `torch.autograd.grad`.
"""

import threading
import weakref
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.monitor.activations import Slopes, is_activation
from gradlab.monitor.attach import Site, owns_weights
from gradlab.monitor.calls import Act, Call, Hook, is_heard, tensors_of
from gradlab.monitor.failsafe import Fuse, harmless
from gradlab.monitor.input_gradients import Entrance
from gradlab.monitor.tensor_norms import mean_std, size_of


class _Pass(threading.local):
    """Where a pass forward is; one that another thread makes, to evaluate, is somewhere else."""

    def __init__(self) -> None:
        self.begun: dict[int, list[tuple[Call, Entrance | None]]] = defaultdict(list)
        self.activating: dict[int, Call] = {}
        self.last: Call | None = None
        self.order: list[int] = []


class Signals:
    """The calls of the sites that gradients have come back to, since they were last taken.

    Attributes:
        on: whether to listen at all.
        phi: the activation after each site that has one.
    """

    def __init__(self, model: nn.Module, sites: Sequence[Site], fuse: Fuse) -> None:
        self.sites, self.fuse = sites, fuse
        self.on, self._backward = True, False
        self.phi: dict[int, nn.Module] = {}
        self._model = model
        self._calls: list[Call] = []
        self._pass = _Pass()
        self._later: dict[int, Call] = {}
        self._slopes = Slopes()
        self._handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Put the hooks on."""
        for index, site in enumerate(self.sites):
            if site.heard is not None:
                own = site.heard is site.module
                self._hook(
                    site.heard, partial(self._enter, index, own), partial(self._leave, index)
                )
        self._hook(self._model, self._forget, None)  # before whatever else is done in a pass
        for module in self._model.modules():
            if is_activation(module):
                self._hook(module, self._activate, self._activated)
        told = {id(site.module) for site in self.sites}
        for module in self._model.modules():
            if owns_weights(module) and id(module) not in told:
                self._hook(module, self._forget, None)

    def close(self) -> None:
        """Take them off again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.take()

    @property
    def count(self) -> int:
        """Calls so far."""
        return len(self._calls)

    @property
    def order(self) -> list[int]:
        """Sites in the order in which their first outputs came in this thread."""
        return self._pass.order

    def take(self) -> list[Call]:
        """Return the calls so far, and begin anew."""
        calls, self._calls = self._calls, []
        self._pass.begun.clear()
        self._pass.activating.clear()
        self._later.clear()
        self._pass.last = None
        return calls

    def drop(self) -> None:
        """Let go of the calls so far, whose gradients were thrown away."""
        self._calls.clear()

    def scaled(self, since: int, scale: Tensor | None) -> None:
        """Say by what the loss of calls from a number on was multiplied."""
        for call in self._calls[since:]:
            call.scale = scale

    @property
    def backward(self) -> bool:
        """Whether a `backward()` is under way."""
        return self._backward

    @backward.setter
    def backward(self, begins: bool) -> None:
        if begins and not self._backward:
            self._pass.last = None  # the pass forward is over
        self._backward = begins

    def _hook(self, module: nn.Module, before: Act, after: Act | None) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            return  # it takes no hooks: it is as silent as what is compiled
        pre = module.register_forward_pre_hook(Hook(before), with_kwargs=True)
        self._handles.append(pre)
        if after is not None:
            self._handles.append(module.register_forward_hook(Hook(after)))

    @property
    def _listening(self) -> bool:
        return self.on and torch.is_grad_enabled()

    @harmless
    def _enter(
        self, index: int, own: bool, module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        """Begin a call, perhaps inside another one of the same module."""
        if not self._listening:
            return
        first = next(iter([*args, *kwargs.values()]), None)
        entrance = Entrance(first) if own and is_heard(first) else None
        self._pass.begun[index].append((Call(index), entrance))

    @harmless
    def _leave(self, index: int, module: nn.Module, args: Any, output: Any) -> None:
        if index not in self._pass.order:
            self._pass.order.append(index)
        self._pass.last = None
        if not self._listening or not self._pass.begun[index]:
            return
        call, entrance = self._pass.begun[index].pop()
        tensors = [t for t in tensors_of(output) if is_heard(t)]
        if not tensors:
            return
        call.known |= _moments("preact", tensors[0])
        call.output = weakref.ref(tensors[0])
        for tensor in tensors:
            tensor.register_hook(partial(self._came, call, "delta"))
        if entrance is not None:
            entrance.hear(tensors, partial(self._came, call, "back"))
        self._pass.last = call

    @harmless
    def _activate(self, module: nn.Module, args: Sequence[Any], kwargs: Any) -> None:
        """Hear the input of an activation: of the site that was called last."""
        call, self._pass.last = self._pass.last, None
        if self.backward:  # a checkpoint is made again; what came before it was called long ago
            call = self._later.pop(id(module), call)
        if call is None or not self.on or not args:
            return
        if not torch.is_grad_enabled():
            self._later[id(module)] = call
        if not torch.is_grad_enabled() or not is_heard(args[0]):
            return
        self._pass.activating[id(module)] = call
        self.phi[call.site] = module
        u, site = args[0], self.sites[call.site]
        if call.output() is not u:  # there is something between, such as a normalisation
            call.known |= _moments("preact", u)
            u.register_hook(partial(self._came, call, "preact_grad"))
        if u.is_floating_point():
            saturated, call.alive_U = self._slopes.of(module, u.detach(), site.channels)
            call.known["saturated"] = saturated

    @harmless
    def _activated(self, module: nn.Module, args: Any, output: Any) -> None:
        call = self._pass.activating.pop(id(module), None)
        if call is not None and is_heard(output):
            call.known |= _moments("act", output)
            output.register_hook(partial(self._came, call, "act_grad"))

    @harmless
    def _forget(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Let what follows not be taken for what a site's output goes to."""
        self._pass.last = None

    @harmless
    def _came(self, call: Call, name: str, grad: Tensor) -> None:
        """Take the norm of a gradient; with that of the output, the call counts."""
        if not self.backward:
            return
        with torch.no_grad():
            size = size_of(grad)
        if name in call.known:
            size = torch.hypot(size, torch.as_tensor(call.known[name]))
        elif name == "delta":
            self._calls.append(call)
        call.known[name] = size


def _moments(part: str, x: Tensor) -> dict[str, Tensor | float]:
    if x.is_complex():
        return {}  # it has no mean on the axis that the columns are of
    with torch.no_grad():
        mean, std = mean_std(x)
    return {
        f"{part}_count": float(x.numel()),
        f"{part}_mean": mean,
        f"{part}_std": std,
    }
