"""Gradient clipping: pure functions of gradients and parameters, both by dotted name.

Every tensor is [M, ...], a member of the stack per row; members never mix. A gradient below its
threshold is returned bit for bit. A gradient with infinities or NaNs does not become finite, except
in `by_value`, which clamps infinities as torch does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.config.choices import Component
from gradlab.recording.norms import joint_norm, norm
from gradlab.training.stack_parameters import Named, Parameters


class Clipper:
    """Applies each member's clipping to the member's own rows of every gradient."""

    def __init__(self, clips: Sequence[Component]) -> None:
        """Group the members by their clipping."""
        kinds = [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
        groups = [(kind, [i for i, c in enumerate(clips) if c == kind]) for kind in kinds]
        self._clips = clips
        self._groups = [(kind, _rows(members)) for kind, members in groups if kind.name != "none"]
        self._uniform = len(groups) == 1

    def clip(self, parameters: Parameters, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients after clipping; the input is not changed.

        Args:
            parameters: of the stack.
            grads: of the mean over the batch, laid out as `parameters.blocks`.
        """
        if not self._groups:
            return grads
        named, params = parameters.name_blocks(grads), parameters.named
        if self._uniform:
            return parameters.block_named(self._groups[0][0].call(named, params))
        out = {name: grad.clone() for name, grad in named.items()}
        for kind, members in self._groups:
            some = ({n: t[members] for n, t in each.items()} for each in (named, params))
            for name, clipped in kind.call(*some).items():
                out[name][members] = clipped
        return parameters.block_named(out)

    def clip_member(self, member: int, grads: Named, params: Named) -> Named:
        """Return one member's gradients, [1, ...], after its clipping.

        Args:
            member: its index.
            grads: of the mean over the batch, [1, ...].
            params: the parameters, [1, ...].
        """
        kind = self._clips[member]
        return grads if kind.name == "none" else kind.call(grads, params)

    def factor(self, grad_norm_M: Tensor, clipped: Sequence[Tensor]) -> Tensor:
        """Return the norm after clipping over the norm before, [M]; 1: not clipped."""
        out = torch.ones_like(grad_norm_M)
        for _, members in self._groups:
            before, after = grad_norm_M[members], joint_norm([grad[members] for grad in clipped])
            out[members] = torch.where(before > 0, after / before, 1.0)
        return out


def _rows(members: list[int]) -> slice | list[int]:
    """Return consecutive members as a slice, for which torch copies nothing."""
    first, last = members[0], members[-1] + 1
    return slice(first, last) if last - first == len(members) else members


def by_global_norm(grads: Named, params: Named, *, max_norm: float) -> dict[str, Tensor]:
    """Scale all gradients of a member together to a norm of at most `max_norm`.

    Pascanu, Mikolov & Bengio 2013, algorithm 1.

    Args:
        grads: of the mean over the batch, [M, ...] by dotted name, as in the functions below.
        params: the parameters, likewise.
        max_norm: the threshold.
    """
    factor = _factor(_joint_norm(grads), max_norm)
    return {name: _scaled(g, factor) for name, g in grads.items()}


def by_layer_norm(grads: Named, params: Named, *, max_norm: float) -> dict[str, Tensor]:
    """Scale each layer's gradients, all parameters together, to a norm of at most `max_norm`.

    Args:
        grads: [M, ...] by dotted name.
        params: likewise.
        max_norm: the threshold.
    """
    layers = {name: _layer(name) for name in grads}
    factors: dict[str, Tensor] = {}
    for layer in dict.fromkeys(layers.values()):
        total = _joint_norm({name: g for name, g in grads.items() if layers[name] == layer})
        factors[layer] = _factor(total, max_norm)
    return {name: _scaled(g, factors[layers[name]]) for name, g in grads.items()}


def by_value(grads: Named, params: Named, *, max_value: float) -> dict[str, Tensor]:
    """Clamp every entry to [-max_value, max_value]. NaNs stay.

    Args:
        grads: [M, ...] by dotted name.
        params: likewise.
        max_value: the threshold.
    """
    return {name: g.clamp(-max_value, max_value) for name, g in grads.items()}


def adaptive(
    grads: Named, params: Named, *, ratio: float, eps: float, clip_output: bool
) -> dict[str, Tensor]:
    """Scale each unit's gradient to at most `ratio` times the norm of the unit's own weights.

    Adaptive gradient clipping, Brock et al. 2021, eq. 3: g_i is scaled to norm ratio max(‖w_i‖,
    eps) if it is above. A unit is a row of a weight matrix; biases and normalisation parameters
    count as one unit each, as in the authors' code.

    Args:
        grads: [M, ...] by dotted name.
        params: likewise.
        ratio: the threshold, over the norm of the weights.
        eps: the least norm of weights that counts.
        clip_output: whether the last layer is clipped too; the authors leave it out.
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
    """Return the layer of a parameter: layers.3 for layers.3.linear.weight."""
    return name.rsplit(".", 2)[0]


def _joint_norm(grads: Named) -> Tensor:
    return norm(torch.stack([norm(g.flatten(1), -1) for g in grads.values()]), 0)


def _factor(size: Tensor, limit: Tensor | float) -> Tensor:
    """Return the factor that brings a gradient of norm `size` to a norm of at most `limit`."""
    return torch.where((size > limit) | size.isnan(), limit / size, 1.0)


def _scaled(g: Tensor, factor: Tensor) -> Tensor:
    """Return g, [M, ...], times a factor without g's trailing axes; a factor 1 changes no bit."""
    shape = factor.shape + (1,) * (g.ndim - factor.ndim)
    # In float64, where the quotient of a huge norm does not underflow.
    return (g.double() * factor.reshape(shape)).to(g.dtype)
