"""The critical initialisation, of whatever activation a network has."""

import math

import torch
from torch import Generator, Tensor, nn

from gradlab.errors import PredictionError, SettingsError
from gradlab.models.init import fill, linears, normal
from gradlab.models.layer import Layer
from gradlab.models.rnn import Recurrent
from gradlab.models.transformer import Block
from gradlab.reference.activations import Activation, Array
from gradlab.theory.critical import Point, at_criticality


def critical(
    model: nn.Module, x: Tensor, generator: Generator, *, sigma_b: float | None = None
) -> None:
    """Draw Var W = sigma_w² / fan_in and Var b = sigma_b² on the activation's critical line.

    There wide networks keep both the variance q of their signals and the size of their gradients
    (Schoenholz et al. 2017, eq. 5). If q is one number, W_1 is scaled by the mean square of x, so
    that z_1 has this variance from the start. The output layer, which has no activation, has
    Var W = 1 / fan_in and no bias.

    Raises:
        SettingsError: the activation has no critical point, or the network is no chain of layers.
    """
    if any(isinstance(module, Recurrent | Block) for module in model.modules()):
        raise SettingsError(
            "model.init=critical is for chains of layers (mlp, resmlp, cnn); "
            "choose model.init=orthogonal"
        )
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    first, point = True, None
    for linear, layer in zip(linears(model), layers, strict=True):
        gain, bias = 1.0, 0.0
        if layer.activation is not None:
            point = point or _point(layer.activation, sigma_b)
            gain, bias = point.sigma_w, point.sigma_b
            if first:
                gain = math.sqrt(point.first(_mean_square(x)))
        first = False
        fill(linear.weight, gain / math.sqrt(linear.in_features) * normal(linear.weight, generator))
        fill(linear.bias, bias * normal(linear.bias, generator))


def _point(module: nn.Module, sigma_b: float | None) -> Point:
    try:
        return at_criticality(by_autograd(module), sigma_b)
    except PredictionError as error:
        raise SettingsError(
            f"model.init=critical: {error}; choose model.init=kaiming_normal"
        ) from error


def _mean_square(x: Tensor) -> float:
    found = float(x.double().square().mean())
    return found if math.isfinite(found) and found > 0 else 1.0


def by_autograd(module: nn.Module) -> Activation:
    """Return an elementwise module as theory wants it: phi and phi' of float64 arrays."""

    def f(z: Array) -> Array:
        with torch.no_grad():
            return module(torch.from_numpy(z.copy())).numpy()

    def derivative(z: Array) -> Array:
        with torch.enable_grad():
            leaf = torch.from_numpy(z.copy()).requires_grad_()
            (slope,) = torch.autograd.grad(module(leaf.clone()).sum(), leaf)
        return slope.numpy()

    return Activation(type(module).__name__, f, derivative, use="", pitfall="")
