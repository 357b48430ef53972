"""A stack: networks of the same shapes that run as one, the member axis first.

A single network is a stack with M = 1, which runs as the plain module.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradlab.config.choices import wrap_errors
from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.errors import SettingsError
from gradlab.models.init import scale_to_spectral_radius
from gradlab.models.network import build
from gradlab.training.minibatches import Batches
from gradlab.training.stack_parameters import Named, Parameters

FREE = "seed, initialisation, clipping, learning rate and loss scale"


class Stack:
    """Networks that differ in their numbers only: one forward and one backward pass for all.

    Attributes:
        device, dtype: of all tensors.
        model: the module that runs for every member; for one network, its parameters are views of
            the stack's.
        parameters: of all members.
        leaves: the tensors whose `.grad` a backward pass fills, by dotted name.
        buffers: [M, ...] by dotted name (the running statistics of batch normalisation).
        loss: the loss function, a mean over the batch.
        scales: the factor of each member's loss, [M].
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
        """Take the members' networks, or build and initialise each from its seed.

        Args:
            settings: of each member.
            dataset: what all members train on.
            networks: of each member, initialised.

        Raises:
            SettingsError: the settings differ in more than seed, initialisation, clipping, learning
                rate and loss scale, or name a device that does not exist.
        """
        first = settings[0]
        if any(other.stackable() != first.stackable() for other in settings):
            raise SettingsError(f"members of a stack differ only in {FREE}")
        self.device = find_device(first.train.device)
        self.dtype: torch.dtype = getattr(torch, first.train.dtype)
        members = networks or [build_network(each, dataset, self.dtype) for each in settings]
        self.model = members[0].to(self.device)
        self.parameters = Parameters(members, self.device)
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
    def size(self) -> int:
        """M, the number of members."""
        return self.parameters.size

    @property
    def params(self) -> Named:
        """The parameters by dotted name, [M, ...], without gradient."""
        return self.parameters.named

    def losses(
        self,
        x_MBF: Tensor,
        y_MB: Tensor,
        params: Named | None = None,
        buffers: Named | None = None,
        members: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Run the networks forward.

        Args:
            x_MBF: a batch of samples per member.
            y_MB: their targets.
            params: other parameters than the stack's, [M, ...].
            buffers: other buffers than the stack's, [M, ...].
            members: the members that `params` and `buffers` belong to, if not all.

        Returns:
            Each member's loss, [M], a mean over its batch times its scale, and the outputs,
            [M, B, U].
        """
        plain = params is None and buffers is None
        params = self.params if params is None else params
        buffers = self.buffers if buffers is None else buffers
        if len(x_MBF) > 1:
            with ContiguousLinear():
                given = self.leaves if plain else params
                loss_M, output_MBU = vmap(self._one)(given, buffers, x_MBF, y_MB)
        else:
            first = _only(params), _only(buffers), x_MBF[0]
            output = self.model(x_MBF[0]) if plain else self._output(*first)
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
        """Return the gradient of each member's loss, laid out as `parameters.blocks`.

        The tensors are valid until the next call.
        """
        for leaf in self.leaves.values():
            leaf.grad = None
        loss_M.sum().backward()  # no member's loss depends on another's parameters
        return self.parameters.block_grads([_grad(leaf) for leaf in self.leaves.values()])

    def evaluate_member(
        self, member: int, x_1BF: Tensor, y_1B: Tensor, buffers: Named | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Run one member forward and backward at its present parameters.

        Args:
            member: its index.
            x_1BF: its samples.
            y_1B: their targets.
            buffers: other buffers than the member's, [1, ...].

        Returns:
            The loss, a scalar; and by dotted name the parameters and the gradients, [1, ...].
        """
        one = slice(member, member + 1)
        if buffers is None:
            buffers = {name: buffer[one] for name, buffer in self.buffers.items()}
        with torch.enable_grad():
            params = {name: p[one].detach().requires_grad_() for name, p in self.params.items()}
            loss, _ = self.losses(x_1BF, y_1B, params, buffers, one)
            loss.sum().backward()
        grads = {name: _grad(param) for name, param in params.items()}
        return loss[0].detach(), {name: p.detach() for name, p in params.items()}, grads


class ContiguousLinear(TorchFunctionMode):
    """While active, `F.linear` with a matrix runs as `linear`, whoever calls it."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func` or its replacement."""
        if func is F.linear and len(args) > 1 and args[0].ndim == args[1].ndim == 2:
            return linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def linear(x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return x W^T + b, [B, O], so that vmap and autograd copy nothing.

    vmap decomposes `F.linear` into a product with the bias, two sums, and a product with W^T, whose
    gradient is [M, I, O] in memory and is copied into the layout of W. As (W x^T + b)^T, dLoss/dW
    is [M, O, I] at once, and signals stay [M, U, B] in memory, seen as [M, B, U].
    """
    z_OB = torch.mm(weight_OI, x_BI.mT)
    return (z_OB if bias_O is None else z_OB.add_(bias_O[:, None])).mT


def _only(tensors: Named) -> Named:
    return {name: tensor[0] for name, tensor in tensors.items()}


def _grad(leaf: Tensor) -> Tensor:
    """Return a leaf's gradient; zeros if the loss does not depend on the leaf."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def build_network(settings: Settings, dataset: Dataset, dtype: torch.dtype) -> nn.Module:
    """Build one network and initialise it from its seed, if need be on its first batch.

    Args:
        settings: of the run.
        dataset: what it trains on.
        dtype: of its parameters.

    Raises:
        SettingsError: the network cannot be built, or its initialisation fails.
    """
    with wrap_errors("the network cannot be built"):
        n_in, n_out = dataset.x_train.shape[1], dataset.n_out
        model = build(settings.model, n_in, n_out, dataset.shape, dataset.target_steps).to(dtype)
    samples, batch_size = len(dataset.x_train), settings.train.batch_size
    batch = Batches(samples, batch_size, [settings.seed]).next()[0]
    generator = torch.Generator().manual_seed(settings.seed)
    gain = {} if settings.model.init_gain is None else {"gain": settings.model.init_gain}
    init = settings.model.init
    with wrap_errors(f"model.init={init.name}, called with (network, inputs, generator), failed"):
        init.call(model, dataset.x_train[batch].to(dtype), generator, **gain)
    scale_to_spectral_radius(model)
    return model


def find_device(name: str) -> torch.device:
    """Return the torch device; `auto` is a GPU where there is one.

    Raises:
        SettingsError: the device does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise SettingsError(f"train.device={name} is not there: {found} GPUs found; try auto")
    return device
