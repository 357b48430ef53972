"""A network of the zoo, written by hand: the same numbers as layers of `gradlab.reference`."""

import torch
from torch import nn

from gradlab.config.settings import Settings
from gradlab.errors import SettingsError
from gradlab.models.layer import Layer
from gradlab.reference.activations import ACTIVATIONS, Array
from gradlab.reference.losses import LOSSES, Loss, Scaled
from gradlab.reference.network import Dense


def check_twin(settings: Settings) -> None:
    """Raise SettingsError unless the network is written by hand.

    Others than MLPs are not, nor is normalisation, nor an activation or loss that is not gradlab's.
    """
    for key, given, known in (
        ("model", settings.model.component.name, ["mlp"]),
        ("model.norm", settings.model.norm.name, ["none"]),
        ("model.activation", settings.model.activation.name, ACTIVATIONS),
        ("loss", settings.loss.component.name, LOSSES),
    ):
        if given not in known:
            said = f"{key}={given} is not written by hand: expected one of {', '.join(known)}"
            raise SettingsError(said)


def twin(settings: Settings, model: nn.Module) -> tuple[list[Dense], Loss]:
    """Return the layers (copies, float64) and the loss of a plain MLP, written by hand.

    Raises:
        SettingsError: there is no twin.
    """
    check_twin(settings)
    phi, loss = settings.model.activation.name, settings.loss
    layers = [
        Dense(
            _double(layer.linear.weight).T.copy(),
            _double(layer.linear.bias),
            ACTIVATIONS["identity" if layer.activation is None else phi],
        )
        for layer in model.modules()
        if isinstance(layer, Layer)
    ]
    return layers, Scaled(LOSSES[loss.component.name](**loss.component.params), loss.scale)


def _double(parameter: torch.Tensor) -> Array:
    return parameter.detach().double().cpu().numpy().copy()
