"""From the signals and parameters of one step to the numbers of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradlab import schema
from gradlab.nets.init import has_bias
from gradlab.nets.layer import Layer
from gradlab.nets.rnn import Recurrent
from gradlab.record.probes import Signals
from gradlab.record.sites import Site
from gradlab.record.statistics import Measured, block, columns

Params = Mapping[str, Tensor]
TOGETHER = 2**17
"""Entries of a signal, or of weights, that are measured in one call: half a MB in float32."""


def measure(
    sites: Sequence[Site], signals: Sequence[Signals], before: Params, grads: Params, after: Params
) -> Tensor:
    """Return [M, S, C] float64: for each member and site, the columns of `schema.STATISTICS`.

    Args:
        sites: where it was probed.
        signals: what the probes saw in one forward and backward pass.
        before: parameters [M, ...] that the pass used, by dotted name.
        grads: their gradients (of the mean over the batch), before clipping.
        after: the same parameters after the optimiser's step.
    """
    signals = _with_steps(sites, signals)
    first = signals[0].delta
    assert first is not None
    out = first.new_empty((len(sites), first.shape[0], len(schema.STATISTICS)), dtype=torch.float64)
    for indices in _groups(sites, signals):
        pairs = [(sites[i], signals[i]) for i in indices]
        if pairs[0][0].axis == "block":
            out[indices] = block(*(_signal(pairs, name) for name in ("act", "act_grad", "back")))
        else:
            out[indices] = columns(_stack(pairs, before, grads, after))
    return out.transpose(0, 1)


def _with_steps(sites: Sequence[Site], signals: Sequence[Signals]) -> Sequence[Signals]:
    """Return the signals, those of a recurrent layer over depth put together from its steps."""
    steps: dict[str, list[Signals]] = defaultdict(list)
    for site, its in zip(sites, signals, strict=True):
        if site.axis == "time":
            steps[site.name].append(its)
    return [
        _joined(its, steps[site.name])
        if site.axis == "depth" and isinstance(site.module, Recurrent)
        else its
        for site, its in zip(sites, signals, strict=True)
    ]


def _joined(whole: Signals, steps: Sequence[Signals]) -> Signals:
    def join(name: str) -> Tensor | None:
        found = [getattr(step, name) for step in steps]
        return None if found[0] is None else torch.cat(found, dim=1)

    names = ("preact", "act", "preact_grad", "act_grad", "out_grad")
    return replace(whole, **{name: join(name) for name in names})


def _groups(sites: Sequence[Site], signals: Sequence[Signals]) -> list[list[int]]:
    """Return the sites that are measured together: of one kind, and few enough for the cache.

    Many small sites in one call save calls; a large one alone needs no copy.
    """
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, (site, its) in enumerate(zip(sites, signals, strict=True)):
        assert its.back is not None
        kinds[(*site.kind, *its.back.shape)].append(index)
    groups: list[list[int]] = []
    for indices in kinds.values():
        first = signals[indices[0]].back
        assert first is not None
        members, batch, columns_ = first.shape
        module = sites[indices[0]].module
        rows = module.linear.out_features if isinstance(module, Layer) else columns_
        entries = members * max(rows * columns_, batch * max(rows, columns_))
        many = len(indices) if first.is_cuda else max(1, TOGETHER // entries)
        groups += [indices[start : start + many] for start in range(0, len(indices), many)]
    return groups


def _stack(
    pairs: Sequence[tuple[Site, Signals]], before: Params, grads: Params, after: Params
) -> Measured:
    site = pairs[0][0]
    layer, in_time = site.layer, site.axis == "time"
    delta = _signal(pairs, "delta")
    preact = _signal(pairs, "preact")
    preact_grad = _signal(pairs, "preact_grad", delta)
    act_grad = _signal(pairs, "act_grad", preact_grad)
    grad = _matrix(pairs, grads)
    if in_time:  # what this step adds to dLoss/dV (Pascanu et al. 2013, eq. 4)
        grad = delta.mT @ _signal(pairs, "before")
    return Measured(
        preact_SMBU=preact,
        act_SMBU=_signal(pairs, "act", preact),
        back_SMBI=_signal(pairs, "back"),
        delta_SMBU=delta,
        preact_grad_SMBU=preact_grad,
        act_grad_SMBU=act_grad,
        out_grad_SMBU=_signal(pairs, "out_grad", act_grad),
        weight_SMOI=_matrix(pairs, before),
        weight_after_SMOI=_matrix(pairs, after),
        weight_grad_SMOI=grad,
        bias_grad_SMO=_bias(pairs, grads) if has_bias(layer.linear) and not in_time else None,
        activation=layer.activation,
        steepest=site.steepest,
        normalised=layer.norm is not None,
    )


def _signal(
    pairs: Sequence[tuple[Site, Signals]], name: str, otherwise: Tensor | None = None
) -> Tensor:
    """Return a signal of all sites, [S, M, B, U]; `otherwise` if they have none."""
    found = [getattr(signals, name) for _, signals in pairs]
    if found[0] is None:
        assert otherwise is not None
        return otherwise
    return _stacked(found)


def _matrix(pairs: Sequence[tuple[Site, Signals]], source: Params) -> Tensor:
    """Return each site's W, [S, M, O, I], or its gradient; a recurrent layer's over depth: W, V."""
    return _stacked(
        [
            torch.cat(maps, -1) if len(maps) > 1 else maps[0]
            for maps in ([source[name] for name in site.weights] for site, _ in pairs)
        ]
    )


def _bias(pairs: Sequence[tuple[Site, Signals]], source: Params) -> Tensor:
    return _stacked([source[f"{site.name}.linear.bias"] for site, _ in pairs])


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
