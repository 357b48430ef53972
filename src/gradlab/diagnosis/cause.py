"""Why a signal changes over depth: its decades by factor, and theory's beside them.

At one recorded step, between the last layer L and layer l, for a plain chain exactly:

    log10 ‖delta_l‖ / ‖delta_L‖ = Σ_{m=l}^{L-1} log10 act_factor_m + log10 norm_factor_m
                                + Σ_{m=l+1}^{L} log10 weight_factor_m

What is left of it in a network with skip connections is theirs, and attention's: the queries of a
Transformer are no layer that others follow. There the layer's site is named. All of it can be
checked by hand from the rows of that step in `layers.parquet`.
"""

from dataclasses import dataclass

import numpy as np

from gradlab.diagnosis.profile import Grid, log10
from gradlab.diagnosis.record import Record

BESIDE: dict[object, str] = {"transformer": "attention and skip connections"}
"""What the gradient passes beside the layers, by network."""
SHOWN = 0.05  # decades in all, below which a factor is not worth a word


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


def attribute(grid: Grid, step: int, layer: int) -> Attribution:
    """Return the parts of log10 ‖delta_layer‖ / ‖delta_L‖ at a step; NaN where one is undefined.

    Layers that have no row at that step are passed over.
    """
    row = int(np.searchsorted(grid.steps, step))
    there = ~np.isnan(grid["delta_norm"][row])
    positions = grid.positions[there]
    last, first = int(positions[-1]), int(np.searchsorted(positions, layer))
    delta, act, weight, norm = (
        log10(grid[name][row, there])
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


def sentence(record: Record, found: Attribution) -> str:
    """Say the decades, through what, and what theory says: the cause of a finding over depth."""
    last = found.layer + found.layers
    words = {
        "activation": f"{_named(record, 'model.activation', 'the activation')}'s derivative",
        "weights": f"{_named(record, 'model.init', '').strip()} weights".strip(),
        "normalisation": f"{_named(record, 'model.norm', '').strip()} normalisation".strip(),
        "skips": BESIDE.get(record.config.get("model"), "skip connections"),
    }
    told = [
        f"{words[name]} {value:+.1f} ({value / found.layers:+.2f} a layer)"
        for name, value in sorted(found.parts().items(), key=lambda part: -abs(part[1]))
        if abs(value) >= SHOWN
    ]
    parts = f": {', '.join(told)}" if told else ""
    site = f" ({_site(record, found.layer)})" if "skips" in found.parts() else ""
    where = f"from layer {last} to layer {found.layer}{site}, step {found.step}"
    return f"{found.total:+.1f} decades {where}{parts}{theory(record, found.layer)}"


def theory(record: Record, layer: int) -> str:
    """Say what theory predicts for the same ratio, as far as there is a theory."""
    told: list[str] = []
    row = expected_at(record, layer)
    if row is not None:
        told.append(f"{row[0]:+.1f} ± {row[1]:.1f} at step 0")
    if record.fixed_point is not None:
        told.append(f"{record.fixed_point:+.2f} a layer at the fixed point")
    return f"; theory: {', '.join(told)}" if told else ""


def expected_at(record: Record, layer: int) -> tuple[float, float] | None:
    """Return theory's log10 ‖delta_layer‖ / ‖delta_L‖ and its spread over networks."""
    if record.expected is None:
        return None
    position, delta, sd = (
        record.expected[name].to_numpy() for name in ("position", "delta_norm", "delta_sd")
    )
    (at,) = np.nonzero(position == layer)
    if not len(at) or not delta[at[0]] > 0:
        return None
    return float(np.log10(delta[at[0]])), float(sd[at[0]])


def _site(record: Record, layer: int) -> str:
    """Return the name of the module at a position over depth."""
    rows = record.layers[(record.layers["axis"] == "depth") & (record.layers["position"] == layer)]
    return str(rows["module"].iloc[0]) if "module" in rows else "no name"


def _named(record: Record, key: str, otherwise: str) -> str:
    """Return a choice as a word: `sigmoid`; the last part of a dotted path."""
    value = record.config.get(key)
    return otherwise if value in (None, "none") else str(value).rsplit(".", 1)[-1]
