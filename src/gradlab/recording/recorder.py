"""Measures the modules of gradlab's networks at one step, from signals and parameters."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradlab import schema
from gradlab.models.rnn import Recurrent
from gradlab.recording.columns import LayerKind, LayerTensors, block_columns, layer_columns
from gradlab.recording.modules import RecordedModule
from gradlab.recording.probes import Signals

Params = Mapping[str, Tensor]
Pair = tuple[RecordedModule, Signals]
CALL_ENTRIES = 2**17
"""Number of entries, of signals or weights, that are measured in one call: 0.5 MB in float32."""


def measure(
    modules: Sequence[RecordedModule],
    signals: Sequence[Signals],
    before: Params,
    grads: Params,
    after: Params,
) -> Tensor:
    """Compute the columns of `schema.STATISTICS` for each member and module.

    Args:
        modules: The recorded modules.
        signals: Signals of each module, from one forward and backward pass.
        before: Parameters that the pass used, [M, ...], keyed by dotted name.
        grads: Gradients of each member's mean loss over the batch, [M, ...], before clipping.
        after: Parameters after the optimiser's step, [M, ...].

    Returns:
        The columns of S modules, [M, S, C] float64, `NULL` where not measured.
    """
    signals = _join_time_steps(modules, signals)
    first = signals[0].delta
    assert first is not None
    out = first.new_empty(
        (len(modules), first.shape[0], len(schema.STATISTICS)), dtype=torch.float64
    )
    for indices in _group_by_kind(modules, signals):
        pairs = [(modules[i], signals[i]) for i in indices]
        if pairs[0][0].axis in ("block", "cell"):  # no linear map
            out[indices] = block_columns(
                *(_signal(pairs, name) for name in ("act", "act_grad", "back"))
            )
            continue
        parts = [_layer_tensors(part, before, grads, after) for part in _divide(pairs)]
        out[indices] = layer_columns(parts, _layer_kind(pairs[0][0]))
    return out.transpose(0, 1)


def _join_time_steps(
    modules: Sequence[RecordedModule], signals: Sequence[Signals]
) -> Sequence[Signals]:
    """Return the signals, with all time steps joined for a recurrent layer on the axis depth."""
    steps: dict[str, list[Signals]] = defaultdict(list)
    for module, signal in zip(modules, signals, strict=True):
        if module.axis == "time":
            steps[module.name].append(signal)
    return [
        _join(signal, steps[module.name])
        if module.axis == "depth" and isinstance(module.module, Recurrent)
        else signal
        for module, signal in zip(modules, signals, strict=True)
    ]


def _join(layer: Signals, steps: Sequence[Signals]) -> Signals:
    def join(name: str) -> Tensor | None:
        tensors = [getattr(step, name) for step in steps]
        return None if tensors[0] is None else torch.cat(tensors, dim=1)

    names = ("preact", "act", "preact_grad", "act_grad", "out_grad")
    return replace(layer, **{name: join(name) for name in names})


def _group_by_kind(
    modules: Sequence[RecordedModule], signals: Sequence[Signals]
) -> list[list[int]]:
    """Return groups of indices of modules with the same kind and shape of signals."""
    kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, (module, signal) in enumerate(zip(modules, signals, strict=True)):
        assert signal.back is not None
        kinds[(module.kind, signal.back.shape)].append(index)
    return list(kinds.values())


def _layer_kind(module: RecordedModule) -> LayerKind:
    layer = module.layer
    count = sum(each.weight.numel() for each in module.maps.values())
    return LayerKind(
        layer.activation, module.steepest, layer.norm is not None, module.has_bias, count
    )


def _divide(pairs: Sequence[Pair]) -> list[Sequence[Pair]]:
    """Divide modules of one kind into parts that fit into the cache, each measured in one call.

    Small modules share a call. A large module is measured separately, without copying it.

    Returns:
        The parts, in the order of the modules.
    """
    module, first = pairs[0][0], _signal(pairs[:1], "back")[0]
    members, batch, _ = first.shape
    rows = module.layer.linear.out_features
    columns_ = sum(each.in_features for each in module.maps.values())
    entries = members * max(rows * columns_, batch * max(rows, columns_))
    many = len(pairs) if first.is_cuda else max(1, CALL_ENTRIES // entries)
    return [pairs[start : start + many] for start in range(0, len(pairs), many)]


def _layer_tensors(
    pairs: Sequence[Pair], before: Params, grads: Params, after: Params
) -> LayerTensors:
    """Stack the tensors of modules of one kind.

    Args:
        pairs: The modules and their signals.
        before: Parameters that the pass used, [M, ...], keyed by dotted name.
        grads: Gradients of the mean loss, [M, ...].
        after: Parameters after the step, [M, ...].

    Returns:
        The tensors, [S, M, ...].
    """
    module = pairs[0][0]
    preact, delta = _signal(pairs, "preact"), _signal(pairs, "delta")
    preact_grad = _signal(pairs, "preact_grad", delta)
    act_grad = _signal(pairs, "act_grad", preact_grad)
    # The share of a time step in dLoss/dV (Pascanu et al. 2013, eq. 4).
    in_time = module.axis == "time"
    grad = delta.mT @ _signal(pairs, "before") if in_time else _matrices(pairs, grads)
    return LayerTensors(
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
        bias_grad=_biases(pairs, grads) if module.has_bias else grad[..., 0],
    )


def _signal(pairs: Sequence[Pair], name: str, otherwise: Tensor | None = None) -> Tensor:
    """Stack one signal of all modules.

    Args:
        pairs: The modules and their signals.
        name: An attribute of `Signals`.
        otherwise: The result if the modules do not have this signal.

    Returns:
        The signal, [S, M, B, U].
    """
    tensors = [getattr(signals, name) for _, signals in pairs]
    if tensors[0] is None:
        assert otherwise is not None
        return otherwise
    return _stack(tensors)


def _matrices(pairs: Sequence[Pair], source: Params) -> Tensor:
    """Return each module's W_l, or its gradient, [S, M, O, I]."""
    sides = [
        _stack([source[f"{module.name}.{name}.weight"] for module, _ in pairs])
        for name in pairs[0][0].maps
    ]
    return torch.cat(sides, -1) if len(sides) > 1 else sides[0]


def _biases(pairs: Sequence[Pair], source: Params) -> Tensor:
    return _stack([source[f"{module.name}.linear.bias"] for module, _ in pairs])


def _stack(tensors: list[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
