"""A network of the zoo, written by hand: the same numbers as layers of `gradlab.reference`."""

import torch
from torch import nn

from gradlab.errors import SettingsError
from gradlab.nets.layer import Layer
from gradlab.reference.activations import ACTIVATIONS, Array
from gradlab.reference.losses import LOSSES, Loss, Scaled
from gradlab.reference.network import Dense
from gradlab.settings import Settings


def twin(settings: Settings, model: nn.Module) -> tuple[list[Dense], Loss]:
    """Return the layers (copies, float64) and the loss of a plain MLP, written by hand.

    Raises:
        SettingsError: there is no twin: other networks than MLPs, normalisation, or an activation
            or loss that is not gradlab's own.
    """
    chosen, loss = settings.model, settings.loss
    phi = chosen.activation.name
    for key, given, known in (
        ("model", chosen.component.name, ["mlp"]),
        ("model.norm", chosen.norm.name, ["none"]),
        ("model.activation", phi, ACTIVATIONS),
        ("loss", loss.component.name, LOSSES),
    ):
        if given not in known:
            said = f"{key}={given} is not written by hand: expected one of {', '.join(known)}"
            raise SettingsError(said)
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
