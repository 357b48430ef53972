"""A stack of networks of the same shapes: every parameter is one tensor [M, ...].

One member is the same thing with M = 1, and then runs as the plain module that it is.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gradlab.config.choices import wrap_errors
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import SettingsError
from gradlab.models.init import to_spectral_radius
from gradlab.models.network import build
from gradlab.training.batches import Batches
from gradlab.training.linear import LinearAsLaid

FREE = "seed, initialisation, clipping, learning rate and loss scale"
Named = Mapping[str, Tensor]


class Stack:
    """Networks that share everything but their numbers.

    Attributes:
        model: the module that stands for every member; alone, its parameters are the stack's.
        params: [M, ...] by dotted name: views of `memory`, without gradient.
        blocks: the same, as what is made of all parameters goes through them fastest: a stack's
            each by itself, as they are large; alone, many small ones as one.
        buffers: [M, ...] by dotted name (the running statistics of batch normalisation).
        memory: all parameters of all members, one after another.
        gathered: alone, the gradient, laid out like that.
        kept, before: as `memory` and `params`, when `keep` was last called.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
        """Build and initialise each member from its own seed, unless its network is given.

        Raises:
            SettingsError: the settings differ in more than seed, initialisation, clipping,
                learning rate and loss scale, or name a device that is not there.
        """
        first = settings[0]
        if any(other.stackable() != first.stackable() for other in settings):
            raise SettingsError(f"members of a stack differ only in {FREE}")
        self.device = find_device(first.train.device)
        self.dtype: torch.dtype = getattr(torch, first.train.dtype)
        members = networks or [initialised(each, dataset, self.dtype) for each in settings]
        self.size = len(members)
        self.model = members[0].to(self.device)
        params = [dict(member.named_parameters()) for member in members]
        stacked = [torch.stack([each[name].detach() for each in params]) for name in params[0]]
        self.shapes = {name: p.shape for name, p in zip(params[0], stacked, strict=True)}
        self.memory = torch.cat([p.flatten() for p in stacked]).to(self.device)
        self.kept = torch.empty_like(self.memory)
        self.gathered = torch.empty_like(self.memory[: None if self.size == 1 else 0])
        self.params, self.before = self.views(self.memory), self.views(self.kept)
        self.blocks = [self.memory[None]] if self.size == 1 else list(self.params.values())
        self.leaves = self._leaves()
        buffers = [dict(member.named_buffers()) for member in members]
        self.buffers = {
            name: buffer[None] if self.size == 1 else torch.stack([b[name] for b in buffers])
            for name, buffer in self.model.named_buffers()
        }
        self.loss = partial(first.loss.component.call)
        wide = torch.promote_types(self.dtype, torch.float32)  # a scale may be beyond float16
        scales = [each.loss.scale for each in settings]
        self.scales = torch.tensor(scales, dtype=wide, device=self.device)

    def _leaves(self) -> dict[str, Tensor]:
        if self.size > 1:
            return {name: p.detach().requires_grad_() for name, p in self.params.items()}
        leaves = dict(self.model.named_parameters())
        for name, leaf in leaves.items():
            leaf.data = self.params[name][0]
        return {name: leaf.requires_grad_() for name, leaf in leaves.items()}

    @property
    def theta(self) -> Tensor:
        """A copy of all parameters, [M, P], a row per member."""
        return torch.cat([p.flatten(1) for p in self.params.values()], dim=1)

    def views(self, memory: Tensor) -> dict[str, Tensor]:
        """Return what is laid out as `memory` by name, each [M, ...]."""
        parts = memory.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def losses(
        self,
        x_MBF: Tensor,
        y_MB: Tensor,
        params: Named | None = None,
        buffers: Named | None = None,
        members: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Return each member's loss [M], a mean over its batch times its scale, and outputs.

        Parameters and buffers, [M, ...], are the stack's own, unless others are given: those of
        one member can be, and `members` then says of which.
        """
        own = params is None and buffers is None
        params = self.params if params is None else params
        buffers = self.buffers if buffers is None else buffers
        if len(x_MBF) > 1:
            with LinearAsLaid():
                given = self.leaves if own else params
                loss_M, output_MBU = vmap(self._one)(given, buffers, x_MBF, y_MB)
        else:
            given = _only(params), _only(buffers), x_MBF[0]
            output = self.model(x_MBF[0]) if own else self._output(*given)
            loss_M, output_MBU = self.loss(output, y_MB[0])[None], output[None]
        return (loss_M * self.scales[members]).to(loss_M.dtype), output_MBU

    def _one(
        self, params: Named, buffers: Named, x_BF: Tensor, y_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        output = self._output(params, buffers, x_BF)
        return self.loss(output, y_B), output

    def _output(self, params: Named, buffers: Named, x_BF: Tensor) -> Tensor:
        return functional_call(self.model, ({**params}, {**buffers}), (x_BF,))

    def gradients(self, loss_M: Tensor) -> list[Tensor]:
        """Return the gradient of each member's own loss, as `blocks`, until this is asked again."""
        for leaf in self.leaves.values():
            leaf.grad = None
        loss_M.sum().backward()  # no member's loss depends on another's parameters
        found = [grad_of(leaf) for leaf in self.leaves.values()]
        if self.size == 1:
            # Into the same memory at every step: what is new is zeroed first, page by page.
            return [torch.cat([grad.flatten() for grad in found], out=self.gathered)[None]]
        return [grad.contiguous() for grad in found]

    def named(self, blocks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what is laid out as `blocks` by name, each [M, ...]."""
        return (
            self.views(blocks[0][0])
            if self.size == 1
            else dict(zip(self.shapes, blocks, strict=True))
        )

    def blocked(self, named: Named) -> list[Tensor]:
        """Return what is given by name, each [M, ...], laid out as `blocks`."""
        if self.size > 1:
            return list(named.values())
        return [torch.cat([t.flatten() for t in named.values()])[None]]

    def keep(self) -> None:
        """Keep all parameters as they are, for `restore`."""
        self.kept.copy_(self.memory)

    def restore(self, which_M: Tensor) -> None:
        """Give the members in `which_M` the parameters back that were kept."""
        for now, before in zip(self.params.values(), self.before.values(), strict=True):
            which = which_M.view(-1, *[1] * (now.ndim - 1))
            now.copy_(torch.where(which, before, now))

    def finite(self) -> Tensor:
        """Return whether all parameters of each member are finite, [M]."""
        if not self.memory.is_cuda and self.memory.sum().isfinite():
            return torch.ones(self.size, dtype=torch.bool)
        finite = [p.flatten(1).isfinite().all(1) for p in self.params.values()]
        return torch.stack(finite).all(0)


def _only(of_one: Named) -> Named:
    return {name: tensor[0] for name, tensor in of_one.items()}


def grad_of(leaf: Tensor) -> Tensor:
    """Return a leaf's gradient; of one that the loss does not depend on, zeros."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def initialised(settings: Settings, dataset: Dataset, dtype: torch.dtype) -> nn.Module:
    """Build one network and initialise it from its seed, on its first batch if need be.

    Raises:
        SettingsError: it cannot be built, or its initialisation fails.
    """
    with wrap_errors("the network cannot be built"):
        n_in, n_out = dataset.x_train.shape[1], dataset.n_out
        model = build(settings.model, n_in, n_out, dataset.shape, dataset.asked).to(dtype)
    samples, batch_size = len(dataset.x_train), settings.train.batch_size
    batch = Batches(samples, batch_size, [settings.seed]).next()[0]
    generator = torch.Generator().manual_seed(settings.seed)
    gain = {} if settings.model.init_gain is None else {"gain": settings.model.init_gain}
    init = settings.model.init
    called = f"model.init={init.name}, called with (network, inputs, generator), failed"
    with wrap_errors(called):
        init.call(model, dataset.x_train[batch].to(dtype), generator, **gain)
    to_spectral_radius(model)
    return model


def find_device(name: str) -> torch.device:
    """Return the torch device; `auto` is a GPU where there is one.

    Raises:
        SettingsError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise SettingsError(f"train.device={name} is not there: {found} GPUs found; try auto")
    return device
