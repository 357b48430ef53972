"""Initialisations, with exact variances, over all linear maps of a network.

Random numbers are drawn on the CPU in float64 from the generator given, then cast: a seed means
the same network in every dtype and on every device. Biases are 0 except in `default`, norm layers 1
and 0. Each is called with the network, a batch of inputs x [B, n_0] (which the data-dependent ones
need) and a generator.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from gradlab.nets.layer import Layer

FAN: dict[str, Callable[[int, int], float]] = {
    "in": lambda fan_in, fan_out: fan_in,
    "average": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    "one": lambda fan_in, fan_out: 1,
}


def variance_scaling(
    model: nn.Module, x: Tensor, generator: Generator, *, gain: float, fan: str, distribution: str
) -> None:
    """Draw weights of variance gain² / fan (LeCun et al. 1998, Glorot 2010 eq. 16, He 2015 eq. 10).

    `fan` is "in", "average" (of fan_in and fan_out) or "one"; `distribution` "normal" or "uniform".
    """
    for linear in linears(model):
        fan_out, fan_in = linear.weight.shape
        std = gain / math.sqrt(FAN[fan](fan_in, fan_out))
        if distribution == "normal":
            draw = std * normal(linear.weight, generator)
        else:
            draw = _uniform(linear.weight, math.sqrt(3) * std, generator)
        _set(linear, draw)


def default(model: nn.Module, x: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw weights and biases uniform in ±gain/sqrt(fan_in): with gain 1, as `torch.nn.Linear`."""
    for linear in linears(model):
        bound = gain / math.sqrt(linear.in_features)
        _set(linear, _uniform(linear.weight, bound, generator))
        fill(linear.bias, _uniform(linear.bias, bound, generator))


def zeros(model: nn.Module, x: Tensor, generator: Generator) -> None:
    """Set every weight to 0: all units of a layer then have the same gradient, for ever."""
    for linear in linears(model):
        _set(linear, torch.zeros(linear.weight.shape))


def orthogonal(model: nn.Module, x: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw semi-orthogonal weights, uniformly, times `gain` (Saxe et al. 2014).

    The variance of an entry is gain² / max(fan_in, fan_out). Q of a QR factorisation is uniform
    once the signs of R's diagonal are taken out (Mezzadri 2007, section 5).
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

    Layer-sequential unit variance (Mishkin & Matas 2016, algorithm 1). Biases are 0, so z_l is
    linear in W_l and one division is exact; a layer whose z_l is constant is left as it was drawn.
    """
    orthogonal(model, x, generator, gain=1.0)

    def scale(linear: nn.Module, inputs: tuple[Tensor, ...], z: Tensor) -> Tensor:
        assert isinstance(linear, nn.Linear)
        std = float(z.double().std(correction=0))
        factor = gain / std if math.isfinite(std) and std > 0 else 1.0
        fill(linear.weight, linear.weight.double() * factor)
        return nn.functional.linear(inputs[0], linear.weight, linear.bias)

    handles = [linear.register_forward_hook(scale) for linear in linears(model, reset=False)]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
        _reset_norms(model)  # the pass has moved batch normalisation's running statistics


def linears(model: nn.Module, reset: bool = True) -> Iterator[nn.Linear]:
    """Yield the linear maps of a network's layers; first reset its normalisations, if asked."""
    if reset:
        _reset_norms(model)
    for module in model.modules():
        if isinstance(module, Layer):
            yield module.linear


def _reset_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Layer) and module.norm is not None:
            reset = getattr(module.norm, "reset_parameters", None)
            if reset is not None:
                reset()


def normal(like: Tensor, generator: Generator) -> Tensor:
    """Draw standard normal numbers in a tensor's shape, float64."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def _uniform(like: Tensor, bound: float, generator: Generator) -> Tensor:
    unit = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return (2 * unit - 1) * bound


def _set(linear: nn.Linear, weight: Tensor) -> None:
    fill(linear.weight, weight)
    fill(linear.bias, torch.zeros(linear.bias.shape))


def fill(parameter: Tensor, values: Tensor) -> None:
    """Copy values into a parameter, cast to its dtype."""
    with torch.no_grad():
        parameter.copy_(values)
