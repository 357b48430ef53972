"""Build the network that the settings describe, in torch and in NumPy."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import nn

from gradlab.config.choices import Component, wrap_errors
from gradlab.config.settings import ModelSettings, Settings
from gradlab.errors import SettingsError
from gradlab.models.feedforward import Layer
from gradlab.reference.activation_functions import ACTIVATIONS, Array
from gradlab.reference.dense import Dense
from gradlab.reference.loss_functions import LOSSES, Loss, Scaled

BYTES_PER_ENTRY = 8
"""Initialisations draw in float64."""
BYTES_PER_LAYER = 8_000
"""The size of a layer's modules without parameters."""


def build(
    model: ModelSettings,
    n_in: int,
    n_out: int,
    shape: tuple[int, int] | None = None,
    target_steps: int | None = None,
) -> nn.Module:
    """Return the network of `model`, from `n_in` features to `n_out` outputs.

    Args:
        model: the settings.
        n_in: features of a sample.
        n_out: outputs of a sample, or of each step with a target.
        shape: the shape of a sample, if it is more than a row of features.
        target_steps: steps at the end of a sample that have a target each; None for one target.

    Returns:
        The network, with torch's initial weights.

    Raises:
        SettingsError: the network is too large for the machine, or cannot read such samples. Or the
            activation or the normalisation is not a suitable module.
    """
    check_size(model, n_in, n_out)
    check_activation(model.activation)
    check_norm(model.norm, model.width)
    make = partial(
        model.component.call,
        widths=[n_in, *[model.width] * model.depth, n_out],
        activation=model.activation.call,
        norm=None if model.norm.target is None else partial(model.norm.call),
        norm_position=model.norm_position,
        **_sample_arguments(model, n_in, shape, target_steps),
    )
    check_parameters(model, make)
    return make()


def _sample_arguments(
    model: ModelSettings, n_in: int, shape: tuple[int, int] | None, target_steps: int | None
) -> dict[str, Any]:
    """Return the keywords for networks that need the shape of a sample.

    Args:
        model: the settings.
        n_in: features of a sample.
        shape: the shape of a sample, if it is more than a row of features.
        target_steps: steps at the end of a sample that have a target each.

    Returns:
        Keywords for the network's class.
    """
    name = model.component.name
    if target_steps is not None and model.reads != "sequence":
        raise SettingsError(
            f"model={name} has one output per sample, but the data have targets at "
            f"{target_steps} steps: expected model=rnn, lstm, gru or transformer"
        )
    if model.reads == "sequence":
        return {"shape": shape or (n_in, 1), "target_steps": target_steps}
    if model.reads == "image":
        if shape is None:
            raise SettingsError(
                f"model={name} reads images, but a sample is {n_in} features without a shape: "
                "expected data=digits"
            )
        return {"shape": shape}
    return {}


def check_size(model: ModelSettings, n_in: int, n_out: int) -> None:
    """Raise SettingsError if an MLP of this size would not fit in the machine's memory.

    Args:
        model: the settings.
        n_in: features of a sample.
        n_out: outputs.
    """
    depth, width = model.depth, model.width
    entries = width * (n_in + max(depth - 1, 0) * (width + 1) + n_out)
    _check_memory(model, entries * BYTES_PER_ENTRY + depth * BYTES_PER_LAYER)


def check_parameters(model: ModelSettings, make: Callable[[], nn.Module]) -> None:
    """Raise SettingsError if the parameters of a network would not fit in the machine's memory."""
    entries = 0
    # On the meta device nothing is allocated. A user's module may need real numbers there and fail.
    with suppress(RuntimeError), torch.device("meta"):
        entries = sum(parameter.numel() for parameter in make().parameters())
    _check_memory(model, entries * BYTES_PER_ENTRY)


def _check_memory(model: ModelSettings, needed: float) -> None:
    available = machine_memory()
    if needed > available:
        raise SettingsError(
            f"the network cannot be built: model={model.component.name} of "
            f"model.depth={model.depth} and model.width={model.width} needs "
            f"{needed / 1e9:.4g} GB, and the machine has {available / 1e9:.4g}"
        )


def machine_memory() -> float:
    """Return the machine's memory in bytes; inf where it is unknown."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_activation(activation: Component) -> None:
    """Raise SettingsError unless the choice makes elementwise modules without parameters."""
    expected = f"model.activation={activation.name}: expected an elementwise torch module"
    with wrap_errors(expected), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the error below is enough
        phi = activation.call()
        if not isinstance(phi, nn.Module):
            raise SettingsError(f"{expected}, but it makes a {type(phi).__name__}")
        if any(True for _ in phi.parameters()):
            raise SettingsError(f"{expected} without parameters, but {type(phi).__name__} has some")
        z = torch.linspace(-2, 2, 12).view(3, 4)
        whole, part, flat = phi(z.clone()), phi(z[:2, :3].clone()), phi(z.flatten())
        elementwise = torch.allclose(whole[:2, :3], part) and torch.allclose(whole.flatten(), flat)
    if not elementwise:
        raise SettingsError(f"{expected}, but an output depends on more than one input")


def check_norm(norm: Component, width: int) -> None:
    """Raise SettingsError unless the choice makes a module from the width that keeps [B, width]."""
    if norm.target is None:
        return
    expected = f"model.norm={norm.name}: expected a torch module that is made from the width"
    with wrap_errors(expected), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        module = norm.call(width)
        if not isinstance(module, nn.Module):
            raise SettingsError(f"{expected}, but it makes a {type(module).__name__}")
        shape = tuple(module(torch.zeros(2, width)).shape)
    if shape != (2, width):
        raise SettingsError(f"{expected} and keeps the shape, but (2, {width}) became {shape}")


def check_numpy_copy(settings: Settings) -> None:
    """Raise SettingsError unless `numpy_copy` supports the network.

    It supports plain MLPs with an activation and a loss of gradlab, without normalisation.
    """
    for key, value, known in (
        ("model", settings.model.component.name, ["mlp"]),
        ("model.norm", settings.model.norm.name, ["none"]),
        ("model.activation", settings.model.activation.name, ACTIVATIONS),
        ("loss", settings.loss.component.name, LOSSES),
    ):
        if value not in known:
            message = f"{key}={value} has no NumPy version: expected one of {', '.join(known)}"
            raise SettingsError(message)


def numpy_copy(settings: Settings, model: nn.Module) -> tuple[list[Dense], Loss]:
    """Return the layers (float64 copies) and the loss of a plain MLP for `gradlab.reference`.

    Raises:
        SettingsError: the network is not a plain MLP of gradlab.
    """
    check_numpy_copy(settings)
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
