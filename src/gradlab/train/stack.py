"""A stack of networks of the same shapes: their parameters are one matrix theta [M, P].

One member is the same thing with M = 1, and then runs without vmap.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gradlab.data.dataset import Dataset
from gradlab.errors import SettingsError
from gradlab.foreign import blamed
from gradlab.nets.build import build
from gradlab.nets.rnn import to_spectral_radius
from gradlab.settings import Settings
from gradlab.train.batches import Batches

FREE = "seed, initialisation, clipping and learning rate"


class Stack:
    """Networks that share everything but their numbers.

    Attributes:
        model: the module that stands for every member; its own parameters are not used.
        theta: all parameters, [M, P], a row per member.
        buffers: [M, ...] by dotted name (the running statistics of batch normalisation).
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
        """Build and initialise each member from its own seed, unless its network is given.

        Raises:
            SettingsError: the settings differ in more than seed, initialisation, clipping and
                learning rate, or name a device that is not there.
        """
        first = settings[0]
        if any(other.stackable() != first.stackable() for other in settings):
            raise SettingsError(f"members of a stack differ only in {FREE}")
        self.device = find_device(first.train.device)
        self.dtype: torch.dtype = getattr(torch, first.train.dtype)
        members = networks or [initialised(each, dataset, self.dtype) for each in settings]
        self.model = members[0].to(self.device)
        params = [dict(member.named_parameters()) for member in members]
        self.shapes = {name: param.shape for name, param in params[0].items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        rows = [torch.cat([p.detach().flatten() for p in each.values()]) for each in params]
        self.theta = torch.stack(rows).to(self.device).requires_grad_()
        self.buffers = {
            name: torch.stack([dict(m.named_buffers())[name].to(self.device) for m in members])
            for name in dict(self.model.named_buffers())
        }
        self.loss = partial(first.loss.component.call)
        self.scale = first.loss.scale

    @property
    def size(self) -> int:
        """How many members there are."""
        return self.theta.shape[0]

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the parameters in `rows` [M, P] (or their gradients) by name, each [M, ...]."""
        parts = rows.split(self.sizes, dim=-1)
        shapes = self.shapes.items()
        return {
            name: part.unflatten(-1, shape) if shape else part.squeeze(-1)
            for (name, shape), part in zip(shapes, parts, strict=True)
        }

    def losses(
        self, theta: Tensor, buffers: dict[str, Tensor], x_MBF: Tensor, y_MB: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each member's loss [M], a mean over its batch times the scale, and outputs."""
        if theta.shape[0] == 1:
            alone = {name: buffer.squeeze(0) for name, buffer in buffers.items()}
            loss, output = self._one(theta.squeeze(0), alone, x_MBF.squeeze(0), y_MB.squeeze(0))
            return loss[None], output[None]
        return vmap(self._one)(theta, buffers, x_MBF, y_MB)

    def _one(
        self, theta_P: Tensor, buffers: dict[str, Tensor], x_BF: Tensor, y_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        output = functional_call(self.model, (self.views(theta_P), buffers), (x_BF,))
        return self.loss(output, y_B) * self.scale, output


def initialised(settings: Settings, dataset: Dataset, dtype: torch.dtype) -> nn.Module:
    """Build one network and initialise it from its seed, on its first batch if need be.

    Raises:
        SettingsError: it cannot be built, or its initialisation fails.
    """
    with blamed("the network cannot be built"):
        n_in, n_out = dataset.x_train.shape[1], dataset.n_out
        model = build(settings.model, n_in, n_out, dataset.shape, dataset.asked).to(dtype)
    samples, batch_size = len(dataset.x_train), settings.train.batch_size
    batch = Batches(samples, batch_size, [settings.seed]).next()[0]
    generator = torch.Generator().manual_seed(settings.seed)
    gain = {} if settings.model.init_gain is None else {"gain": settings.model.init_gain}
    init = settings.model.init
    called = f"model.init={init.name}, called with (network, inputs, generator), failed"
    with blamed(called):
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
