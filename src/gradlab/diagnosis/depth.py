"""The rules over depth, and the decades of their cause by factor.

At one recorded step, between the last layer L and layer l, exactly for a plain chain:

    log10 ‖delta_l‖ / ‖delta_L‖ = Σ_{m=l}^{L-1} log10 act_factor_m + log10 norm_factor_m
                                + Σ_{m=l+1}^{L} log10 weight_factor_m

In a network with skip connections or attention, these contribute the remainder. The rows of that
step in `layers.parquet` suffice to check all of it by hand.
"""

from dataclasses import dataclass

import numpy as np

from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.grid import (
    Grid,
    extrapolate,
    first_lasting,
    log10,
    relative,
    usual_positions,
)
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import change_text, expected_text, factors_text, join_sentence
from gradlab.pages.numbers import factor_text

REMEDIES = {
    "vanishing": ("model.init=kaiming_normal", "model.norm=layer", "model=resmlp", "optim=adam"),
    "exploding": ("model.init=xavier_normal", "model.norm=layer", "clip=norm"),
}
OTHER_PATHS = {
    "resmlp": "skip connections",
    "transformer": "attention and skip connections",
    **dict.fromkeys(("rnn", "lstm", "gru"), "paths through time"),
}
"""By network, the paths of the gradient that do not pass through the layers in order."""


@dataclass(frozen=True)
class Attribution:
    """The decades between the last layer and layer `layer` at `step`; the four parts sum to all."""

    step: int
    layer: int
    layers: int  # between the two
    total: float
    activation: float
    weights: float
    normalisation: float
    skips: float

    def parts(self) -> dict[str, float]:
        """Return the parts by name; `skips` only where it is more than rounding."""
        found = {
            "activation": self.activation,
            "weights": self.weights,
            "normalisation": self.normalisation,
        }
        return found | ({"skips": self.skips} if abs(self.skips) > 1e-3 else {})


def vanishing(record: Record) -> Finding | None:
    """Find layers whose error signal is, or by its factors would be, `decades` below the last's.

    Branches do not count: a signal that is strong again nearer the input has not vanished.

    Returns:
        The finding, or None.
    """
    grid = record.main_path
    table = relative(grid["delta_norm"])
    # An exact zero has vanished if the factors explain it; else the dtype ran out (underflow).
    table = extrapolate(np.where(np.isfinite(table), table, np.nan), grid)
    return _finding(record, grid, "vanishing", table, table <= -record.limit("decades"))


def exploding(record: Record) -> Finding | None:
    """Find layers whose error signal is at least `decades` above the last layer's."""
    grid = record.depth
    table = relative(grid["delta_norm"])
    return _finding(record, grid, "exploding", -table, table >= record.limit("decades"))


def attribute(grid: Grid, step: int, layer: int) -> Attribution:
    """Split log10 ‖delta_layer‖ / ‖delta_L‖ at one step by factor.

    Layers without a row at that step are left out.

    Args:
        grid: The record over depth.
        step: A recorded step.
        layer: A position.

    Returns:
        Decades; NaN where a factor is undefined or was not measured.
    """
    row = int(np.searchsorted(grid.steps, step))
    present = ~np.isnan(grid["delta_norm"][row])
    positions = grid.positions[present]
    last, first = int(positions[-1]), int(np.searchsorted(positions, layer))
    delta, act, weight, norm = (
        log10(grid[name][row, present])
        for name in ("delta_norm", "act_factor", "weight_factor", "norm_factor")
    )
    total = float(delta[first] - delta[-1])
    activation = float(act[first:-1].sum())
    normalisation = float(norm[first:-1].sum())
    weights = float(weight[first + 1 :].sum())
    return Attribution(
        step=step,
        layer=layer,
        layers=last - layer,
        total=total,
        activation=activation,
        weights=weights,
        normalisation=normalisation,
        skips=total - activation - weights - normalisation,
    )


def _finding(
    record: Record, grid: Grid, kind: str, lost: np.ndarray, holds: np.ndarray
) -> Finding | None:
    """Make the finding.

    Args:
        record: The record of the run.
        grid: Its layers that count.
        kind: "vanishing" or "exploding".
        lost: Decades [S, L], lowest where the pathology is worst.
        holds: Whether a layer has the pathology, bool [S, L].

    Returns:
        The finding; None if the pathology does not last.
    """
    since = first_lasting(holds.any(axis=1), grid.steps)
    if since is None:
        return None
    row, column = _worst(lost, holds, grid["delta_norm"])
    change = attribute(grid, int(grid.steps[row]), int(grid.positions[column]))
    worst = float(np.nanmin(lost[row]))
    severe = abs(worst) >= record.limit("severe_decades")
    evidence = {
        "decades": change.total,
        "step": change.step,
        "layer": change.layer,
        **change.parts(),
    }
    theory = _expected_at(record, change.layer)
    if theory is not None:
        evidence |= {"theory": theory[0], "theory_sd": theory[1]}
    if record.fixed_point is not None:
        evidence["fixed_point"] = record.fixed_point
    return Finding(
        kind=kind,
        where=usual_positions(holds, grid.positions),
        since=since,
        severity="severe" if severe else "mild",
        cause=_cause(record, kind, worst, change),
        evidence=evidence,
        remedies=REMEDIES[kind],
    )


def _worst(lost: np.ndarray, holds: np.ndarray, signal: np.ndarray) -> tuple[int, int]:
    """Return row and column of the typical worst layer.

    The row is the one whose worst layer is the median over the rows with the pathology. Where the
    signal is exactly 0 in some layers, the column is the worst layer that it still reaches.

    Args:
        lost: Decades [S, L], lowest where the pathology is worst.
        holds: Whether a layer has the pathology, bool [S, L].
        signal: The error signal [S, L].

    Returns:
        Row and column in the tables.
    """
    rows = np.flatnonzero(holds.any(axis=1))
    order = np.nanmin(lost[rows], axis=1).argsort(kind="stable")
    row = int(rows[order[(len(rows) - 1) // 2]])
    reached = np.flatnonzero(np.isfinite(signal[row]) & (signal[row] > 0))
    if not len(reached):
        return row, lost.shape[1] - 1
    return row, int(reached[lost[row, reached].argmin()])


def _cause(record: Record, kind: str, worst: float, change: Attribution) -> str:
    """Return the sentence of a finding, with the layers that no signal reaches.

    Args:
        record: The record of the run.
        kind: "vanishing" or "exploding".
        worst: Decades in the worst layer, by the factors where the dtype has rounded it to 0.
        change: The change up to the worst layer that the signal reaches.

    Returns:
        The sentence.
    """
    if abs(worst) <= abs(change.total) + 1e-9:
        return describe(record, change)
    if kind == "exploding" and change.layers:
        return describe(record, change, "; in other layers it is not finite")
    if kind == "exploding":
        return f"the error signal is not finite in some layers, at step {change.step}"
    zero = "exactly 0"
    if np.isfinite(worst):
        zero = f"0 in {record.dtype} (by its factors, {factor_text(worst)} smaller)"
    if change.layers:
        return describe(record, change, f"; below layer {change.layer} it is {zero}")
    layer = record.layers_text([change.layer])
    measurement = f"below {layer}, the error signal is {zero}, at step {change.step}"
    return join_sentence(measurement, prediction=_prediction(record, 1))


def describe(record: Record, change: Attribution, more: str = "") -> str:
    """Describe a change of the error signal, its factors and theory's prediction.

    Args:
        record: The record of the run.
        change: The change and its factors.
        more: Text about the layers that are not part of the change.

    Returns:
        The sentence of a finding.
    """
    parts = change.parts()
    last, layer = (
        record.layers_text([position], named="skips" in parts)
        for position in (change.layer + change.layers, change.layer)
    )
    measurement = (
        f"the error signal {change_text(change.total)} from {last} to {layer}, "
        f"at step {change.step}{more}"
    )
    names = {
        "activation": f"{_choice(record, 'model.activation', 'the activation')}'s derivative",
        "weights": f"the {_choice(record, 'model.init', '')} weights".replace("  ", " "),
        "normalisation": f"{_choice(record, 'model.norm', '')} normalisation".strip(),
        "skips": OTHER_PATHS.get(
            str(record.config.get("model")), "skip connections or other paths"
        ),
    }
    reason = ""
    if np.isfinite([*parts.values()]).all():
        factors = {names[name]: value for name, value in parts.items()}
        reason = factors_text(factors, change.layers, "layer", "the error signal")
    return join_sentence(measurement, reason, _prediction(record, change.layer))


def _prediction(record: Record, layer: int) -> str:
    """Describe theory's prediction for the same ratio; "" without a theory."""
    texts: list[str] = []
    expected = _expected_at(record, layer)
    if expected is not None:
        decades, spread = expected
        texts.append(f"{expected_text(decades, f'{abs(decades):.1f} ± {spread:.1f}')} at step 0")
    if record.fixed_point is not None:
        decades = record.fixed_point
        texts.append(
            "in the limit of a deep, wide network, "
            f"{expected_text(decades, f'{abs(decades):.2f}')} per layer"
        )
    return "; ".join(texts)


def _expected_at(record: Record, layer: int) -> tuple[float, float] | None:
    """Return theory's log10 ‖delta_layer‖ / ‖delta_L‖ and its spread over networks, in decades."""
    if record.expected is None:
        return None
    position, delta, sd = (
        record.expected[name].to_numpy() for name in ("position", "delta_norm", "delta_sd")
    )
    (at,) = np.nonzero(position == layer)
    if not len(at) or not delta[at[0]] > 0:
        return None
    return float(np.log10(delta[at[0]])), float(sd[at[0]])


def _choice(record: Record, key: str, otherwise: str) -> str:
    """Return a setting as a word.

    Args:
        record: The record of the run.
        key: A key of the configuration.
        otherwise: The word for a key that is not set.

    Returns:
        The value, such as `sigmoid`; the last part of a dotted path.
    """
    value = record.config.get(key)
    return otherwise if value in (None, "none") else str(value).rsplit(".", 1)[-1]
