"""Initialisations: functions that fill a network's weights, with exact variances.

Each function takes the network, a batch of inputs x [B, n_0] and a generator. Only `lsuv` and
`critical` use x. Random numbers are drawn on the CPU in float64 and then cast, so a seed gives the
same network in every dtype and on every device. Biases are 0, except with `default` and `critical`.
Normalisation layers get weight 1 and bias 0.

The fan-in of a convolution is n_in k², its fan-out n_out k². A recurrent layer has two maps, W and
V. Each is one matrix for all gates.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from gradlab.errors import PredictionError, SettingsError
from gradlab.models.feedforward import Layer, Norm
from gradlab.models.rnn import RNN, Recurrent
from gradlab.models.transformer import Block
from gradlab.reference.activation_functions import Activation, Array
from gradlab.theory.phase import CriticalPoint, find_critical_point

FAN: dict[str, Callable[[int, int], float]] = {
    "in": lambda fan_in, fan_out: fan_in,
    "average": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    "one": lambda fan_in, fan_out: 1,
}


def variance_scaling(
    model: nn.Module, x: Tensor, generator: Generator, *, gain: float, fan: str, distribution: str
) -> None:
    """Draw weights with variance gain² / fan.

    Source: LeCun et al. 1998 (section 4.6), Glorot & Bengio 2010 (eq. 16), He et al. 2015 (eq. 10).

    Args:
        model: the network.
        x: inputs, [B, n_0]; not used.
        generator: the source of random numbers.
        gain: the gain.
        fan: "in", "average" (of fan_in and fan_out) or "one".
        distribution: "normal" or "uniform".
    """
    for linear in linears(model):
        fan_in, fan_out = fans(linear)
        std = gain / math.sqrt(FAN[fan](fan_in, fan_out))
        if distribution == "normal":
            draw = std * normal(linear.weight, generator)
        else:
            draw = _uniform(linear.weight, math.sqrt(3) * std, generator)
        _set(linear, draw)


def default(model: nn.Module, x: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw weights and biases uniformly in ±gain/sqrt(fan_in): with gain 1, as `torch.nn.Linear`.

    Args:
        model: the network.
        x: inputs, [B, n_0]; not used.
        generator: the source of random numbers.
        gain: the gain.
    """
    for linear in linears(model):
        bound = gain / math.sqrt(linear.in_features)
        _set(linear, _uniform(linear.weight, bound, generator))
        if has_bias(linear):
            fill(linear.bias, _uniform(linear.bias, bound, generator))


def zeros(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Set every weight to 0: all units of a layer then get the same gradient at every step.

    Args:
        model: the network.
        x: inputs, [B, n_0]; not used.
        generator: not used.
    """
    for linear in linears(model):
        _set(linear, torch.zeros(linear.weight.shape))


def orthogonal(model: nn.Module, x: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw semi-orthogonal weights, uniformly, times `gain` (Saxe et al. 2014).

    The variance of an entry is gain² / max(fan_in, fan_out). Q of a QR factorisation is uniform if
    the signs of R's diagonal are moved into Q (Mezzadri 2007, section 5).

    Args:
        model: the network.
        x: inputs, [B, n_0]; not used.
        generator: the source of random numbers.
        gain: the gain.
    """
    for linear in linears(model):
        rows, columns = linear.weight.shape
        tall = torch.randn(
            max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64
        )
        q, r = torch.linalg.qr(tall)
        q = q * r.diagonal().sign()
        _set(linear, gain * (q if rows >= columns else q.T))


def lsuv(model: nn.Module, x: Tensor, generator: Generator, *, gain: float) -> None:
    """Scale orthogonal weights, layer by layer, so that z_l has variance gain² on the batch x.

    This is layer-sequential unit variance (Mishkin & Matas 2016, algorithm 1). Biases are 0, so z_l
    is linear in W_l and one division is exact. Two matrices are not scaled: the weights of a layer
    with constant z_l, and V of a recurrent layer.

    Args:
        model: the network.
        x: inputs, [B, n_0].
        generator: the source of random numbers.
        gain: the standard deviation of z_l.
    """
    orthogonal(model, x, generator, gain=1.0)

    def scale(linear: nn.Module, inputs: tuple[Tensor, ...], z: Tensor) -> Tensor:
        assert isinstance(linear, nn.Linear)
        std = float(z.double().std(correction=0))
        factor = gain / std if math.isfinite(std) and std > 0 else 1.0
        fill(linear.weight, linear.weight.double() * factor)
        return linear.forward(inputs[0])

    layers = [module for module in model.modules() if isinstance(module, Layer)]
    handles = [layer.linear.register_forward_hook(scale) for layer in layers]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
        _reset_norms(model)  # the pass has changed the running statistics of batch normalisation


def linears(model: nn.Module) -> Iterator[nn.Linear]:
    """Reset a network's normalisations, then yield the linear maps of its layers."""
    _reset_norms(model)
    for module in model.modules():
        if isinstance(module, Layer):
            yield from module.maps


def fans(linear: nn.Linear) -> tuple[int, int]:
    """Return (fan_in, fan_out): inputs per output, and outputs per input."""
    fan_out, fan_in = linear.weight.shape
    return fan_in, fan_out * getattr(linear, "area", 1)


def has_bias(linear: nn.Linear) -> bool:
    """Return whether a linear map has a bias."""
    return linear._parameters.get("bias") is not None  # pyright: ignore[reportPrivateUsage]


def _reset_norms(model: nn.Module) -> None:
    for module in model.modules():
        norm = None
        if isinstance(module, Layer):
            norm = module.norm
        elif isinstance(module, Norm):
            norm = module.inner
        reset = getattr(norm, "reset_parameters", None)
        if reset is not None:
            reset()


def normal(like: Tensor, generator: Generator) -> Tensor:
    """Draw standard normal numbers in the shape of `like`, float64."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def _uniform(like: Tensor, bound: float, generator: Generator) -> Tensor:
    """Draw numbers uniform in ±bound.

    Args:
        like: a tensor of the wanted shape.
        bound: the largest absolute value.
        generator: the source of random numbers.

    Returns:
        The numbers, float64.
    """
    unit = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return (2 * unit - 1) * bound


def _set(linear: nn.Linear, weight: Tensor) -> None:
    fill(linear.weight, weight)
    if has_bias(linear):
        fill(linear.bias, torch.zeros(linear.bias.shape))


def fill(parameter: Tensor, values: Tensor) -> None:
    """Copy values into a parameter, cast to its dtype."""
    with torch.no_grad():
        parameter.copy_(values)


def critical(
    model: nn.Module, x: Tensor, generator: Generator, *, sigma_b: float | None = None
) -> None:
    """Draw weights and biases on the critical line: Var W = sigma_w² / fan_in, Var b = sigma_b².

    There, wide networks keep the variance q of their signals and the size of their gradients
    (Schoenholz et al. 2017, eq. 5). If only one q is a fixed point, the mean square of x scales
    W_1, so that z_1 has the variance q. The output layer has no activation: Var W = 1 / fan_in, no
    bias.

    Args:
        model: the network.
        x: inputs, [B, n_0].
        generator: the source of random numbers.
        sigma_b: the standard deviation of the biases; None for the smallest possible.

    Raises:
        SettingsError: the activation has no critical point, or the model is not a chain of layers.
    """
    if any(isinstance(module, Recurrent | Block) for module in model.modules()):
        raise SettingsError(
            "model.init=critical needs a chain of layers (model=mlp, resmlp or cnn); "
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
                gain = math.sqrt(point.first_layer_scale(_mean_square(x)))
        first = False
        fill(linear.weight, gain / math.sqrt(linear.in_features) * normal(linear.weight, generator))
        fill(linear.bias, bias * normal(linear.bias, generator))


def _point(module: nn.Module, sigma_b: float | None) -> CriticalPoint:
    try:
        return find_critical_point(by_autograd(module), sigma_b)
    except PredictionError as error:
        raise SettingsError(
            f"model.init=critical: {error}; choose model.init=kaiming_normal"
        ) from error


def _mean_square(x: Tensor) -> float:
    square = float(x.double().square().mean())
    return square if math.isfinite(square) and square > 0 else 1.0


def by_autograd(module: nn.Module) -> Activation:
    """Return an elementwise torch module as an `Activation`: phi and phi' of float64 arrays."""

    def f(z: Array) -> Array:
        with torch.no_grad():
            return module(torch.from_numpy(z.copy())).numpy()

    def derivative(z: Array) -> Array:
        with torch.enable_grad():
            leaf = torch.from_numpy(z.copy()).requires_grad_()
            (slope,) = torch.autograd.grad(module(leaf.clone()).sum(), leaf)
        return slope.numpy()

    return Activation(type(module).__name__, f, derivative, use="", pitfall="")


def scale_to_spectral_radius(model: nn.Module) -> None:
    """Scale every V of a recurrent network to the spectral radius `model.spectral_radius`.

    An orthogonal V becomes a multiple of an orthogonal matrix.

    Raises:
        SettingsError: V has no eigenvalue except 0.
    """
    if not isinstance(model, RNN) or model.spectral_radius is None:
        return
    for layer in model.modules():
        if isinstance(layer, Recurrent):
            weight = layer.recurrent.weight.detach().double()
            radius = float(torch.linalg.eigvals(weight).abs().max())
            if not radius > 0:
                raise SettingsError(
                    f"model.spectral_radius={model.spectral_radius} cannot be reached: "
                    "the initial recurrent matrix has spectral radius 0"
                )
            fill(layer.recurrent.weight, weight * (model.spectral_radius / radius))
