"""Gradient clipping: pure functions of gradients and parameters, both by dotted name.

Every tensor is [M, ...], a member of the stack per row; members are never mixed. A gradient below
its threshold comes back bit for bit. A gradient with infinities or NaNs does not become finite,
except in `by_value`, which clamps infinities as torch does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gradlab.recording.norms import norm

Grads = Mapping[str, Tensor]


def by_global_norm(grads: Grads, params: Grads, *, max_norm: float) -> dict[str, Tensor]:
    """Scale all gradients of a member together to a norm of at most `max_norm`.

    Pascanu, Mikolov & Bengio 2013, algorithm 1.
    """
    factor = _factor(_joint_norm(grads), max_norm)
    return {name: _scaled(g, factor) for name, g in grads.items()}


def by_layer_norm(grads: Grads, params: Grads, *, max_norm: float) -> dict[str, Tensor]:
    """Scale each layer's gradients, all parameters together, to a norm of at most `max_norm`."""
    layers = {name: _layer(name) for name in grads}
    factors: dict[str, Tensor] = {}
    for layer in dict.fromkeys(layers.values()):
        total = _joint_norm({name: g for name, g in grads.items() if layers[name] == layer})
        factors[layer] = _factor(total, max_norm)
    return {name: _scaled(g, factors[layers[name]]) for name, g in grads.items()}


def by_value(grads: Grads, params: Grads, *, max_value: float) -> dict[str, Tensor]:
    """Clamp every entry to [-max_value, max_value]. NaNs stay."""
    return {name: g.clamp(-max_value, max_value) for name, g in grads.items()}


def adaptive(
    grads: Grads, params: Grads, *, ratio: float, eps: float, clip_output: bool
) -> dict[str, Tensor]:
    """Scale each unit's gradient to at most `ratio` times the norm of the unit's own weights.

    Adaptive gradient clipping, Brock et al. 2021, eq. 3: g_i is scaled to norm ratio max(‖w_i‖,
    eps) if it is above. A unit is a row of a weight matrix; biases and normalisation parameters
    count as one unit each, as in the authors' code. They leave the last layer unclipped:
    `clip_output`.
    """
    last = _layer(next(reversed(list(grads))))
    out: dict[str, Tensor] = {}
    for name, g in grads.items():
        if _layer(name) == last and not clip_output:
            out[name] = g
            continue
        size, weight = norm(g, -1), norm(params[name], -1)
        out[name] = _scaled(g, _factor(size, ratio * weight.clamp(min=eps)))
    return out


def _layer(name: str) -> str:
    """Return the module that holds a parameter's module: layers.3 of layers.3.linear.weight."""
    return name.rsplit(".", 2)[0]


def _joint_norm(grads: Grads) -> Tensor:
    return norm(torch.stack([norm(g.flatten(1), -1) for g in grads.values()]), 0)


def _factor(size: Tensor, limit: Tensor | float) -> Tensor:
    """Return what a gradient of norm `size` is multiplied by, to have norm `limit` at most."""
    return torch.where((size > limit) | size.isnan(), limit / size, 1.0)


def _scaled(g: Tensor, factor: Tensor) -> Tensor:
    """Return g, [M, ...], times a factor that lacks g's trailing axes; 1 leaves every bit."""
    shape = factor.shape + (1,) * (g.ndim - factor.ndim)
    # In float64, where the quotient of a huge norm does not underflow.
    return (g.double() * factor.reshape(shape)).to(g.dtype)
