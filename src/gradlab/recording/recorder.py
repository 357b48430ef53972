"""From the signals and parameters of one step to the numbers of its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradlab import schema
from gradlab.models.rnn import Recurrent
from gradlab.recording.columns import block, columns
from gradlab.recording.modules import Site
from gradlab.recording.probes import Signals
from gradlab.recording.sums import Kind, Measured

Params = Mapping[str, Tensor]
Pair = tuple[Site, Signals]
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
    for indices in _kinds(sites, signals):
        pairs = [(sites[i], signals[i]) for i in indices]
        if pairs[0][0].axis in ("block", "cell"):  # no linear map
            out[indices] = block(*(_signal(pairs, name) for name in ("act", "act_grad", "back")))
            continue
        parts = [_stack(part, before, grads, after) for part in _parts(pairs)]
        out[indices] = columns(parts, _kind(pairs[0][0]))
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


def _kinds(sites: Sequence[Site], signals: Sequence[Signals]) -> list[list[int]]:
    """Return the sites of each kind, which also have as many samples."""
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, (site, its) in enumerate(zip(sites, signals, strict=True)):
        assert its.back is not None
        kinds[(site.kind, its.back.shape)].append(index)
    return list(kinds.values())


def _kind(site: Site) -> Kind:
    layer = site.layer
    count = sum(each.weight.numel() for each in site.maps.values())
    return Kind(layer.activation, site.steepest, layer.norm is not None, site.has_bias, count)


def _parts(pairs: Sequence[Pair]) -> list[Sequence[Pair]]:
    """Return the sites of one kind that are measured in one call: few enough for the cache.

    Many small sites in one call save calls; a large one alone needs no copy.
    """
    site, first = pairs[0][0], _signal(pairs[:1], "back")[0]
    members, batch, _ = first.shape
    rows = site.layer.linear.out_features
    columns_ = sum(each.in_features for each in site.maps.values())
    entries = members * max(rows * columns_, batch * max(rows, columns_))
    many = len(pairs) if first.is_cuda else max(1, TOGETHER // entries)
    return [pairs[start : start + many] for start in range(0, len(pairs), many)]


def _stack(pairs: Sequence[Pair], before: Params, grads: Params, after: Params) -> Measured:
    site = pairs[0][0]
    preact, delta = _signal(pairs, "preact"), _signal(pairs, "delta")
    preact_grad = _signal(pairs, "preact_grad", delta)
    act_grad = _signal(pairs, "act_grad", preact_grad)
    # Of a step in time: what it adds to dLoss/dV (Pascanu et al. 2013, eq. 4).
    in_time = site.axis == "time"
    grad = delta.mT @ _signal(pairs, "before") if in_time else _matrices(pairs, grads)
    return Measured(
        preact=preact,
        act=_signal(pairs, "act", preact),
        back=_signal(pairs, "back"),
        delta=delta,
        preact_grad=preact_grad,
        act_grad=act_grad,
        out_grad=_signal(pairs, "out_grad", act_grad),
        weight=_matrices(pairs, before),
        weight_after=_matrices(pairs, after),
        weight_grad=grad,
        bias_grad=_biases(pairs, grads) if site.has_bias else grad[..., 0],
    )


def _signal(pairs: Sequence[Pair], name: str, otherwise: Tensor | None = None) -> Tensor:
    """Return a signal of all sites, [S, M, B, U]; `otherwise` if they have none."""
    found = [getattr(signals, name) for _, signals in pairs]
    if found[0] is None:
        assert otherwise is not None
        return otherwise
    return _stacked(found)


def _matrices(pairs: Sequence[Pair], source: Params) -> Tensor:
    """Return each site's W, or its gradient, [S, M, O, I]."""
    sides = [
        _stacked([source[f"{site.name}.{name}.weight"] for site, _ in pairs])
        for name in pairs[0][0].maps
    ]
    return torch.cat(sides, -1) if len(sides) > 1 else sides[0]


def _biases(pairs: Sequence[Pair], source: Params) -> Tensor:
    return _stacked([source[f"{site.name}.linear.bias"] for site, _ in pairs])


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
