"""Gradient clipping: pure functions of gradients and parameters, both by dotted name.

Every tensor is [M, ...], a member of the stack per row; members are never mixed. A gradient below
its threshold comes back bit for bit. A gradient with infinities or NaNs does not become finite,
except in `by_value`, which clamps infinities as torch does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gradlab.record.norms import norm

Grads = Mapping[str, Tensor]


def by_global_norm(grads: Grads, params: Grads, *, max_norm: float) -> dict[str, Tensor]:
    """Scale all gradients of a member together to a norm of at most `max_norm`.

    Pascanu, Mikolov & Bengio 2013, algorithm 1.
    """
    total = _joint_norm(grads)
    return {name: _limit(g, total, torch.full_like(total, max_norm)) for name, g in grads.items()}


def by_layer_norm(grads: Grads, params: Grads, *, max_norm: float) -> dict[str, Tensor]:
    """Scale each layer's gradients, all parameters together, to a norm of at most `max_norm`."""
    layers = {name: _layer(name) for name in grads}
    totals = {
        layer: _joint_norm({name: g for name, g in grads.items() if layers[name] == layer})
        for layer in dict.fromkeys(layers.values())
    }
    return {
        name: _limit(g, totals[layers[name]], torch.full_like(totals[layers[name]], max_norm))
        for name, g in grads.items()
    }


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
        out[name] = _limit(g, size, ratio * weight.clamp(min=eps))
    return out


def _layer(name: str) -> str:
    """Return the module that holds a parameter's module: layers.3 of layers.3.linear.weight."""
    return name.rsplit(".", 2)[0]


def _joint_norm(grads: Grads) -> Tensor:
    return norm(torch.stack([norm(g.flatten(1), -1) for g in grads.values()]), 0)


def _limit(g: Tensor, size: Tensor, limit: Tensor) -> Tensor:
    """Scale g to norm `limit` where `size`, its norm, is above; both lack g's trailing axes."""
    shape = size.shape + (1,) * (g.ndim - size.ndim)
    # In float64, where the quotient of a huge norm does not underflow.
    scaled = (g.double() * (limit / size).reshape(shape)).to(g.dtype)
    return torch.where((size > limit).reshape(shape) | size.isnan().reshape(shape), scaled, g)
