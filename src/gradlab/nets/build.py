"""From settings to a network that is not yet initialised."""

from functools import partial

import torch
from torch import nn

from gradlab.errors import SettingsError
from gradlab.settings import Component, Model


def build(model: Model, n_in: int, n_out: int) -> nn.Module:
    """Return the network of `model`, from `n_in` features to `n_out` outputs.

    Raises:
        SettingsError: the activation is not an elementwise module without parameters.
    """
    check_activation(model.activation)
    return model.component.call(
        widths=[n_in, *[model.width] * model.depth, n_out],
        activation=model.activation.call,
        norm=None if model.norm.target is None else partial(model.norm.call),
        norm_position=model.norm_position,
    )


def check_activation(activation: Component) -> None:
    """Raise SettingsError unless it makes elementwise modules, with no parameters to initialise."""
    wanted = f"model.activation={activation.name}: expected an elementwise torch module"
    try:
        phi = activation.call()
        if not isinstance(phi, nn.Module):
            raise SettingsError(f"{wanted}, but it makes a {type(phi).__name__}")
        if any(True for _ in phi.parameters()):
            raise SettingsError(f"{wanted} without parameters, but {type(phi).__name__} has some")
        z = torch.linspace(-2, 2, 12).view(3, 4)
        elementwise = torch.allclose(phi(z)[:2, :3], phi(z[:2, :3]))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise SettingsError(f"{wanted}: {str(error).splitlines()[0]}") from error
    if not elementwise:
        raise SettingsError(f"{wanted}, but an output depends on more than its own input")
