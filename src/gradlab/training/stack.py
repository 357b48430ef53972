"""Runs several networks of equal shapes as one stack; the first dimension is the member.

A single network is a stack with M = 1, which runs as a normal module.
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
    """Networks of equal shapes, with one forward and one backward pass for all.

    Args:
        settings: Settings of each member.
        dataset: The data of all members.
        networks: Initialised network of each member; None to build each from its settings.

    Attributes:
        device: Device of all tensors.
        dtype: Dtype of all tensors.
        model: The module that runs for every member. In a stack of one network, its parameters are
            views of `parameters`.
        parameters: The parameters of all members.
        leaves: The tensors that get a `.grad` in the backward pass, keyed by dotted name.
        buffers: Buffers such as the running statistics of batch normalisation, [M, ...], keyed by
            dotted name.
        loss: The loss function, a mean over the batch.
        scales: Factor of each member's loss, [M].

    Raises:
        SettingsError: The settings differ in more than seed, initialisation, clipping, learning
            rate and loss scale, or the device does not exist.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
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
        wide = torch.promote_types(self.dtype, torch.float32)  # float16 cannot store some scales
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
        """Number of members, M."""
        return self.parameters.size

    @property
    def params(self) -> Named:
        """The parameters, [M, ...], keyed by dotted name, without gradient."""
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
            x_MBF: Samples of each member's batch.
            y_MB: Targets of each member's batch.
            params: Parameters to use, [M, ...]; None for the parameters of the stack.
            buffers: Buffers to use, [M, ...]; None for the buffers of the stack.
            members: The members to which `params` and `buffers` belong.

        Returns:
            Each member's loss, [M], a mean over its batch times its scale; and the outputs,
            [M, B, U].
        """

        def forward(
            params: Named, buffers: Named, x_BF: Tensor, y_B: Tensor
        ) -> tuple[Tensor, Tensor]:
            output = functional_call(self.model, ({**params}, {**buffers}), (x_BF,))
            return self.loss(output, y_B), output

        plain = params is None and buffers is None
        params = self.params if params is None else params
        buffers = self.buffers if buffers is None else buffers
        if len(x_MBF) > 1:
            with ContiguousLinear():
                leaves = self.leaves if plain else params
                loss_M, output_MBU = vmap(forward)(leaves, buffers, x_MBF, y_MB)
        else:
            if plain:
                output = self.model(x_MBF[0])
                loss = self.loss(output, y_MB[0])
            else:
                loss, output = forward(_only(params), _only(buffers), x_MBF[0], y_MB[0])
            loss_M, output_MBU = loss[None], output[None]
        return (loss_M * self.scales[members]).to(loss_M.dtype), output_MBU

    def gradients(self, loss_M: Tensor) -> list[Tensor]:
        """Return the gradient of each member's loss, in the layout of `parameters.blocks`.

        The tensors are valid until the next call.
        """
        for leaf in self.leaves.values():
            leaf.grad = None
        loss_M.sum().backward()  # no member's loss depends on another's parameters
        return self.parameters.block_grads([_grad(leaf) for leaf in self.leaves.values()])

    def evaluate_member(
        self, member: int, x_1BF: Tensor, y_1B: Tensor, buffers: Named | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Run one member forward and backward at its current parameters.

        Args:
            member: Index of the member.
            x_1BF: Samples.
            y_1B: Targets.
            buffers: Buffers to use, [1, ...]; None for the buffers of the member.

        Returns:
            The loss, a scalar; the parameters and the gradients of the loss (a mean over the batch
            times the scale), [1, ...], keyed by dotted name.
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
    """A context manager in which every call of `F.linear` with a matrix runs `linear` instead."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or `linear` in its place."""
        if func is F.linear and len(args) > 1 and args[0].ndim == args[1].ndim == 2:
            return linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def linear(x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Compute x W^T + b as (W x^T + b)^T, so that vmap and autograd copy nothing.

    In vmap, the gradient of `F.linear` with respect to W has the memory layout [M, I, O] and is
    then copied to [M, O, I]. Here it is [M, O, I] at once. Signals stay in the layout [M, U, B],
    as views [M, B, U].

    Args:
        x_BI: Inputs.
        weight_OI: W.
        bias_O: b; None for a layer without bias.

    Returns:
        The output, [B, O].
    """
    z_OB = torch.mm(weight_OI, x_BI.mT)
    return (z_OB if bias_O is None else z_OB.add_(bias_O[:, None])).mT


def _only(tensors: Named) -> Named:
    return {name: tensor[0] for name, tensor in tensors.items()}


def _grad(leaf: Tensor) -> Tensor:
    """Return the gradient of a leaf; zeros if the loss does not depend on the leaf."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def build_network(settings: Settings, dataset: Dataset, dtype: torch.dtype) -> nn.Module:
    """Build a network and initialise it from its seed; LSUV also uses the first batch.

    Args:
        settings: Settings of the run.
        dataset: The data, which determine the sizes of input and output.
        dtype: Dtype of the parameters.

    Returns:
        The network, on the CPU.

    Raises:
        SettingsError: The network cannot be built, or its initialisation fails.
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
    """Return the torch device of a name; "auto" is a GPU if there is one, else the CPU.

    Raises:
        SettingsError: The device does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise SettingsError(f"train.device={name} is not there: {count} GPUs found; try auto")
    return device
