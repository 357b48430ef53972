"""From the signals and parameters of one step to the numbers of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradlab import schema
from gradlab.record.probes import Signals, Site, has_bias
from gradlab.record.statistics import columns
from gradlab.record.sums import Kind, Measured

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
    for indices in _kinds(sites):
        kind = _kind(sites[indices[0]])
        parts = [
            _stack([(sites[i], signals[i]) for i in part], before, grads, after)
            for part in _parts(indices, sites, first)
        ]
        out[indices] = columns(parts, kind)
    return out.transpose(0, 1)


def _kinds(sites: Sequence[Site]) -> list[list[int]]:
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, site in enumerate(sites):
        kinds[site.kind].append(index)
    return list(kinds.values())


def _kind(site: Site) -> Kind:
    layer = site.layer
    count = layer.linear.weight.numel()
    return Kind(layer.activation, site.steepest, layer.norm is not None, has_bias(layer), count)


def _parts(indices: list[int], sites: Sequence[Site], first: Tensor) -> list[list[int]]:
    """Return the sites of one kind that are measured in one call: few enough for the cache.

    Many small sites in one call save calls; a large one alone needs no copy.
    """
    members, batch, _ = first.shape
    rows, columns_ = sites[indices[0]].layer.linear.weight.shape
    entries = members * max(rows * columns_, batch * max(rows, columns_))
    many = len(indices) if first.is_cuda else max(1, TOGETHER // entries)
    return [indices[start : start + many] for start in range(0, len(indices), many)]


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
        preact=preact,
        act=_or(signal("act"), preact),
        back=back,
        delta=delta,
        preact_grad=preact_grad,
        act_grad=act_grad,
        out_grad=_or(signal("out_grad"), act_grad),
        weight=param(before, "weight"),
        weight_after=param(after, "weight"),
        weight_grad=param(grads, "weight"),
        bias_grad=param(grads, "bias" if has_bias(layer) else "weight").flatten(2),
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _or(found: Tensor | None, otherwise: Tensor) -> Tensor:
    return otherwise if found is None else found
