"""From the signals and parameters of one step to the numbers of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradlab import schema
from gradlab.nets.layer import Layer
from gradlab.record.probes import Signals, Site
from gradlab.record.statistics import Measured, columns

Params = Mapping[str, Tensor]


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
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, site in enumerate(sites):
        groups[_shape(site)].append(index)
    first = signals[0].delta
    assert first is not None
    out = first.new_empty((len(sites), first.shape[0], len(schema.STATISTICS)), dtype=torch.float64)
    for indices in groups.values():
        out[indices] = columns(
            _stack([(sites[i], signals[i]) for i in indices], before, grads, after)
        )
    return out.transpose(0, 1)


def _shape(site: Site) -> tuple[object, ...]:
    layer = site.layer
    kinds = (repr(layer.activation), type(layer.norm), layer.norm_position)
    return (*layer.linear.weight.shape, _has_bias(layer), *kinds)


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
        bias_grad_SMO=param(grads, "bias") if _has_bias(layer) else None,
        activation=layer.activation,
        steepest=pairs[0][0].steepest,
        normalised=layer.norm is not None,
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _or(found: Tensor | None, otherwise: Tensor) -> Tensor:
    return otherwise if found is None else found


def _has_bias(layer: Layer) -> bool:
    return "bias" in dict(layer.linear.named_parameters())
