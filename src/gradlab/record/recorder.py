"""From the signals and parameters of one step to the numbers of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradlab import schema
from gradlab.record.probes import Signals, Site, has_bias
from gradlab.record.statistics import Measured, columns

Params = Mapping[str, Tensor]
TOGETHER = 2**17
"""Entries of a signal, or of weights, that are measured in one call: half a MB in float32."""


def measure(
    sites: Sequence[Site], signals: Sequence[Signals], before: Params, grads: Params, after: Params
) -> Tensor:
    """Return [M, S, C] float64: for each member and site, the columns of `schema.STATISTICS`.

    Args:
        sites: the layers that were probed.
        signals: what the probes saw in one forward and backward pass.
        before: parameters [M, ...] that the pass used, by dotted name.
        grads: their gradients (of the mean over the batch), before clipping.
        after: the same parameters after the optimiser's step.
    """
    first = signals[0].delta
    assert first is not None
    out = first.new_empty((len(sites), first.shape[0], len(schema.STATISTICS)), dtype=torch.float64)
    for indices in _groups(sites, first):
        out[indices] = columns(
            _stack([(sites[i], signals[i]) for i in indices], before, grads, after)
        )
    return out.transpose(0, 1)


def _groups(sites: Sequence[Site], first: Tensor) -> list[list[int]]:
    """Return the sites that are measured together: of one kind, and few enough for the cache.

    Many small sites in one call save calls; a large one alone needs no copy.
    """
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, site in enumerate(sites):
        kinds[site.kind].append(index)
    members, batch, _ = first.shape
    groups: list[list[int]] = []
    for indices in kinds.values():
        rows, columns_ = sites[indices[0]].layer.linear.weight.shape
        entries = members * max(rows * columns_, batch * max(rows, columns_))
        many = len(indices) if first.is_cuda else max(1, TOGETHER // entries)
        groups += [indices[start : start + many] for start in range(0, len(indices), many)]
    return groups


def _stack(
    pairs: Sequence[tuple[Site, Signals]], before: Params, grads: Params, after: Params
) -> Measured:
    layer = pairs[0][0].layer

    def signal(name: str) -> Tensor | None:
        found = [getattr(signals, name) for _, signals in pairs]
        return None if found[0] is None else _stacked(found)

    def param(source: Params, name: str) -> Tensor:
        return _stacked([source[f"{site.name}.linear.{name}"] for site, _ in pairs])

    preact, back, delta = signal("preact"), signal("back"), signal("delta")
    assert preact is not None
    assert back is not None
    assert delta is not None
    preact_grad = _or(signal("preact_grad"), delta)
    act_grad = _or(signal("act_grad"), preact_grad)
    return Measured(
        preact_SMBU=preact,
        act_SMBU=_or(signal("act"), preact),
        back_SMBI=back,
        delta_SMBU=delta,
        preact_grad_SMBU=preact_grad,
        act_grad_SMBU=act_grad,
        out_grad_SMBU=_or(signal("out_grad"), act_grad),
        weight_SMOI=param(before, "weight"),
        weight_after_SMOI=param(after, "weight"),
        weight_grad_SMOI=param(grads, "weight"),
        bias_grad_SMO=param(grads, "bias") if has_bias(layer) else None,
        activation=layer.activation,
        steepest=pairs[0][0].steepest,
        normalised=layer.norm is not None,
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _or(found: Tensor | None, otherwise: Tensor) -> Tensor:
    return otherwise if found is None else found
