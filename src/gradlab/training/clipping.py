"""Gradient clipping: pure functions of gradients and parameters, keyed by dotted name.

Every tensor is [M, ...], with a row for each member; each member is clipped separately. A gradient
below its threshold is returned unchanged. Gradients with inf or NaN do not become finite, except in
`by_value`, which clamps infinities as torch does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.config.choices import Component
from gradlab.recording.norms import joint_norm, norm
from gradlab.training.stack_parameters import Named, Parameters


class Clipper:
    """Clips the gradients of each member as its settings specify.

    Args:
        clips: Clipping of each member.
    """

    def __init__(self, clips: Sequence[Component]) -> None:
        kinds = [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
        groups = [(kind, [i for i, c in enumerate(clips) if c == kind]) for kind in kinds]
        self._clips = clips
        self._groups = [(kind, _rows(members)) for kind, members in groups if kind.name != "none"]
        self._uniform = len(groups) == 1

    def clip(self, parameters: Parameters, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return clipped gradients, without changing the input.

        Args:
            parameters: Parameters of the stack.
            grads: Gradients of the mean loss, in the layout of `parameters.blocks`.
        """
        if not self._groups:
            return grads
        named, params = parameters.name_blocks(grads), parameters.named
        if self._uniform:
            return parameters.block_named(self._groups[0][0].call(named, params))
        out = {name: grad.clone() for name, grad in named.items()}
        for kind, members in self._groups:
            selected = ({n: t[members] for n, t in each.items()} for each in (named, params))
            for name, clipped in kind.call(*selected).items():
                out[name][members] = clipped
        return parameters.block_named(out)

    def clip_member(self, member: int, grads: Named, params: Named) -> Named:
        """Clip the gradients of one member.

        Args:
            member: Index of the member.
            grads: Gradients of the mean loss, [1, ...].
            params: Parameters, [1, ...].

        Returns:
            The clipped gradients, [1, ...].
        """
        kind = self._clips[member]
        return grads if kind.name == "none" else kind.call(grads, params)

    def factor(self, grad_norm_M: Tensor, clipped: Sequence[Tensor]) -> Tensor:
        """Divide the norm after clipping by the norm before, [M]; 1 = not clipped."""
        out = torch.ones_like(grad_norm_M)
        for _, members in self._groups:
            before, after = grad_norm_M[members], joint_norm([grad[members] for grad in clipped])
            out[members] = torch.where(before > 0, after / before, 1.0)
        return out


def _rows(members: list[int]) -> slice | list[int]:
    """Return consecutive members as a slice, so that torch does not copy."""
    first, last = members[0], members[-1] + 1
    return slice(first, last) if last - first == len(members) else members


def by_global_norm(grads: Named, params: Named, *, max_norm: float) -> dict[str, Tensor]:
    """Scale all gradients of a member by one factor, to a joint norm of at most `max_norm`.

    Pascanu, Mikolov & Bengio 2013, algorithm 1.

    Args:
        grads: Gradients of the mean loss, [M, ...], keyed by dotted name.
        params: Parameters, [M, ...]; not used.
        max_norm: The threshold.

    Returns:
        The clipped gradients.
    """
    factor = _factor(_joint_norm(grads), max_norm)
    return {name: _scaled(g, factor) for name, g in grads.items()}


def by_layer_norm(grads: Named, params: Named, *, max_norm: float) -> dict[str, Tensor]:
    """Scale the gradients of each layer by one factor, to a joint norm of at most `max_norm`.

    Args:
        grads: Gradients of the mean loss, [M, ...], keyed by dotted name.
        params: Parameters, [M, ...]; not used.
        max_norm: The threshold.

    Returns:
        The clipped gradients.
    """
    layers = {name: _layer(name) for name in grads}
    factors: dict[str, Tensor] = {}
    for layer in dict.fromkeys(layers.values()):
        total = _joint_norm({name: g for name, g in grads.items() if layers[name] == layer})
        factors[layer] = _factor(total, max_norm)
    return {name: _scaled(g, factors[layers[name]]) for name, g in grads.items()}


def by_value(grads: Named, params: Named, *, max_value: float) -> dict[str, Tensor]:
    """Clamp every entry to [-max_value, max_value]; NaN stays NaN.

    Args:
        grads: Gradients of the mean loss, [M, ...], keyed by dotted name.
        params: Parameters, [M, ...]; not used.
        max_value: The threshold.

    Returns:
        The clipped gradients.
    """
    return {name: g.clamp(-max_value, max_value) for name, g in grads.items()}


def adaptive(
    grads: Named, params: Named, *, ratio: float, eps: float, clip_output: bool
) -> dict[str, Tensor]:
    """Scale the gradient of each unit to at most `ratio` times the norm of the unit's weights.

    Adaptive gradient clipping (Brock et al. 2021, eq. 3): the norm of g_i is limited to
    ratio · max(‖w_i‖, eps). A unit is a row of a weight matrix. A bias vector, or a parameter of a
    normalisation, counts as one unit, as in the authors' code.

    Args:
        grads: Gradients of the mean loss, [M, ...], keyed by dotted name.
        params: Parameters, [M, ...].
        ratio: The threshold, relative to the norm of the weights.
        eps: Lower limit for the norm of the weights.
        clip_output: Whether to clip the last layer; the authors do not.

    Returns:
        The clipped gradients.
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
    """Return the layer of a parameter, such as layers.3 for layers.3.linear.weight."""
    return name.rsplit(".", 2)[0]


def _joint_norm(grads: Named) -> Tensor:
    return norm(torch.stack([norm(g.flatten(1), -1) for g in grads.values()]), 0)


def _factor(size: Tensor, limit: Tensor | float) -> Tensor:
    """Return the factor that limits a gradient of norm `size` to the norm `limit`."""
    return torch.where((size > limit) | size.isnan(), limit / size, 1.0)


def _scaled(g: Tensor, factor: Tensor) -> Tensor:
    """Return g, [M, ...], times a factor that lacks the last dimensions of g."""
    shape = factor.shape + (1,) * (g.ndim - factor.ndim)
    # In float64, because a tiny factor underflows in smaller dtypes.
    return (g.double() * factor.reshape(shape)).to(g.dtype)
