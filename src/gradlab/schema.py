"""The columns that a run leaves on disk: names, dtypes, units, formulas. The one place.

Notation, for the linear maps l = 1..L of a network (1 nearest the input), and a loss that is the
*mean* over the samples of a batch:

    z_l = W_l h_{l-1} + b_l      pre-activation
    u_l = norm(z_l) or z_l       what the activation receives
    a_l = phi(u_l)               post-activation
    h_l = norm(a_l) or a_l       what the next layer receives; h_0 is the input
    delta_l = dLoss/dz_l         the error signal

All norms are taken over every entry (Frobenius), so a signal's norm runs over the whole batch, and
over the positions of an image or the steps of a sequence: they are samples like any other.

A recurrent layer, h_t = phi(W x_t + V h_{t-1} + b), is one row over depth, whose W_l is [W V] and
whose `weight_factor` is W's, and one row a step on the axis time. There the map is V alone:

    z_t = W x_t + V h_{t-1} + b      delta_t = dLoss/dz_t, as it arrives at V
    `act_grad_norm`                  ‖dLoss/dh_t‖, all that later steps and layers say of h_t
    `weight_factor`                  ‖V^T delta_t‖ / ‖delta_t‖
    `weight_grad_norm`               ‖delta_t^T h_{t-1}‖, what step t adds to dLoss/dV

Where the loss reads the last step alone, and no gate lets h_{t-1} pass beside V (as a GRU's does),
‖dLoss/dh_{t-1}‖ = ‖dLoss/dh_t‖ · act_factor_t · norm_factor_t · weight_factor_t. With gates
`act_factor` is what they do together; they have no phi', so `saturated` and `dead` are null.

The cell of a gated layer, c_t = k_t c_{t-1} + what is new, is one row a step on the axis cell: of
an LSTM k = σ(f), its forget gate; of a GRU c is h, before normalisation, and k = σ(u). Of c_t are
`act_grad_norm`, ‖dLoss/dc_t‖ on all ways, `act_mean` and `act_std`, and `weight_factor` is
‖k_t dLoss/dc_t‖ / ‖dLoss/dc_t‖, what the gate lets pass straight to c_{t-1}; what comes there by
way of V is beside it. The other columns are null there.

A block of a network with skip connections is one row on the axis block: of its output h_l are
`act_grad_norm`, `act_mean` and `act_std`, and `weight_factor` is ‖dLoss/dh_{l-1}‖ / ‖dLoss/dh_l‖,
what the block as a whole does to the signal. The other columns are null there.
"""

from dataclasses import dataclass

VERSION = 3

STATUSES = ("running", "completed", "diverged", "failed", "interrupted")
KINDS = (
    "overflow",
    "symmetric",
    "dead",
    "exploding",
    "vanishing",
    "underflow",
    "saturated",
    "unstable",
    "starved",
    "below_eps",
    "clipping",
)
"""What a finding can be of, gravest first; the gravest that is more than a note is the verdict."""
VERDICTS = ("healthy", *KINDS[:-1], "diverged")
AXES = ("depth", "time", "cell", "block")


@dataclass(frozen=True)
class Column:
    """A column of a Parquet file; `unit` "1" means a pure number, "loss" the unit of the loss."""

    name: str
    dtype: str
    unit: str
    formula: str
    meaning: str


def _f64(name: str, unit: str, formula: str, meaning: str) -> Column:
    return Column(name, "float64", unit, formula, meaning)


KEYS = (
    Column("step", "int32", "updates", "", "updates made before this row; 0 = at initialisation"),
    Column(
        "axis",
        "string",
        "",
        "",
        "depth; time: steps of a recurrent layer; cell: of its gated cell; block: with its skips",
    ),
    Column("position", "int32", "1", "l", "1 = nearest the input, or the first time step"),
    Column("module", "string", "", "", "dotted name of the module"),
)

STATISTICS = (
    _f64(
        "weight_grad_norm",
        "loss",
        "‖dLoss/dW_l‖_F",
        "how hard W_l is pulled; in time, by a step",
    ),
    _f64("bias_grad_norm", "loss", "‖dLoss/db_l‖", "how hard the layer's biases are pulled"),
    _f64("delta_norm", "loss", "‖dLoss/dz_l‖_F", "the error signal that arrives at the layer"),
    _f64("act_grad_norm", "loss", "‖dLoss/da_l‖_F", "the signal before phi'; in time, at h_t"),
    _f64("act_factor", "1", "‖dLoss/du_l‖ / ‖dLoss/da_l‖", "what phi' does to the signal"),
    _f64(
        "weight_factor",
        "1",
        "‖W_l^T delta_l‖ / ‖delta_l‖",
        "what W_l^T does to it; or a whole block, or a cell's gate",
    ),
    _f64(
        "norm_factor",
        "1",
        "‖dLoss/dz_l‖ / ‖dLoss/du_l‖ · ‖dLoss/da_l‖ / ‖dLoss/dh_l‖",
        "what normalisation does to it; 1 without",
    ),
    _f64("preact_mean", "1", "mean(u_l)", "mean of the activation's input, batch and units"),
    _f64("preact_std", "1", "std(u_l)", "standard deviation (population) of the same"),
    _f64("act_mean", "1", "mean(a_l)", "mean of the activation's output, batch and units"),
    _f64("act_std", "1", "std(a_l)", "standard deviation (population) of the same"),
    _f64("saturated", "1", "mean(|phi'(u_l)| < 0.05 max|phi'|)", "fraction of entries"),
    _f64(
        "dead", "1", "mean over units of [phi'(u_l) = 0 for the whole batch]", "fraction of units"
    ),
    _f64("weight_norm", "1", "‖W_l‖_F", "before the step's update"),
    _f64("update_ratio", "1", "‖W_after − W_before‖_F / ‖W_before‖_F", "how fast the layer learns"),
    _f64("weight_count", "1", "", "number of entries of W_l"),
    _f64(
        "unit_spread",
        "1",
        "‖dLoss/dW_l − its mean over units‖_F / ‖dLoss/dW_l‖_F",
        "0 = all units of the layer have the same gradient; null for a single unit",
    ),
    _f64("grad_zeros", "1", "mean(dLoss/dW_l = 0)", "fraction of exact zeros"),
    _f64("grad_nonfinite", "1", "mean(dLoss/dW_l is inf or NaN)", "fraction of overflown entries"),
)

LAYERS = KEYS + STATISTICS
"""Columns of `layers.parquet`: a row per recorded step and site."""

STEPS = (
    KEYS[0],
    _f64("loss", "loss", "mean over the batch", "training loss, before the step's update"),
    _f64("accuracy", "1", "", "fraction of the batch classified right; null for regression"),
    _f64("grad_norm", "loss", "‖dLoss/dtheta‖", "over all parameters, before clipping"),
    _f64("clip_factor", "1", "‖clipped‖ / ‖dLoss/dtheta‖", "1 = not clipped"),
    _f64("lr", "1", "", "learning rate of the step"),
    _f64(
        "descent",
        "1",
        "(Loss_after − Loss) / (dLoss/dtheta · (theta_after − theta)), same batch",
        "1 = the loss fell as the gradient promised, below 0 = the step overshot and it rose; at "
        "recorded steps, at most every tenth; null where rounding hides it",
    ),
    _f64("seconds", "s", "", "since training began"),
)
"""Columns of `steps.parquet`: a row per training step."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """Return the columns' names, in file order."""
    return [column.name for column in columns]
