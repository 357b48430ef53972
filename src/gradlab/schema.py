"""The columns of a run's files: name, dtype, unit, formula, meaning, and when the value is null.

`recording/columns.py` computes them, for `gradlab run` and for `gradlab.watch`.

null means "not measured". NaN and inf mean "measured, and not finite". The difference is the same
in memory, in Parquet files and in frames. A ratio of 0 to 0 measures nothing and is null.

Notation, for the linear maps l = 1..L of a network (1 nearest the input), and a loss that is the
*mean* over the samples of a batch:

    z_l = W_l h_{l-1} + b_l      pre-activation
    u_l = norm(z_l) or z_l       input of the activation
    a_l = phi(u_l)               post-activation
    h_l = norm(a_l) or a_l       input of the next layer; h_0 is the input
    delta_l = dLoss/dz_l         error signal

Norms are over every entry (Frobenius): of a signal over units, the batch, and the positions of an
image or the steps of a sequence. In columns on signals, "samples" includes positions and steps.

The rows have four axes.

depth
    A row for each layer. For a recurrent layer, h_t = phi(W x_t + V h_{t-1} + b), W_l is [W V], and
    `weight_factor` uses W.

time
    A row for each time step of a recurrent layer. The map is V alone:

        z_t = W x_t + V h_{t-1} + b      delta_t = dLoss/dz_t, the gradient that arrives at V
        `act_grad_norm`                  ‖dLoss/dh_t‖, through later steps and layers
        `weight_factor`                  ‖V^T delta_t‖ / ‖delta_t‖
        `weight_grad_norm`               ‖delta_t^T h_{t-1}‖, the share of step t in dLoss/dV

    Where the loss reads the last step only, and no gate passes h_{t-1} around V (as a GRU's does),
    ‖dLoss/dh_{t-1}‖ = ‖dLoss/dh_t‖ · act_factor_t · norm_factor_t · weight_factor_t. `act_factor`
    of a gated layer is the gain of all its gates.

cell
    A row for each time step of the cell of a gated layer, c_t = k_t c_{t-1} + new content. In an
    LSTM k = σ(f), the forget gate; in a GRU c is h before normalisation, and k = σ(u).
    `act_grad_norm` is ‖dLoss/dc_t‖ over all paths, `act_mean` and `act_std` are of c_t, and
    `weight_factor` is ‖k_t dLoss/dc_t‖ / ‖dLoss/dc_t‖, the gain of the direct path to c_{t-1}.
    The other columns are null.

block
    A row for each block of a network with skip connections. `act_grad_norm`, `act_mean` and
    `act_std` are of its output h_l, and `weight_factor` is ‖dLoss/dh_{l-1}‖ / ‖dLoss/dh_l‖, the
    gain of the whole block. The other columns are null.
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
"""Kinds of findings, the most severe first; the first finding that is not a note is the verdict."""
VERDICTS = ("healthy", *KINDS[:-1], "diverged")
AXES = ("depth", "time", "cell", "block")


@dataclass(frozen=True)
class Column:
    """A column of a Parquet file.

    Attributes:
        name: Name of the column.
        dtype: "int32", "float64" or "string".
        unit: "1" for a pure number, "loss" for the unit of the loss, "s" for seconds.
        formula: Definition in the notation of this module.
        meaning: One phrase.
        null: When the value is null; empty if never.
    """

    name: str
    dtype: str
    unit: str
    formula: str
    meaning: str
    null: str = ""


def _f64(name: str, unit: str, formula: str, meaning: str, null: str = "") -> Column:
    return Column(name, "float64", unit, formula, meaning, null)


KEYS = (
    Column("step", "int32", "updates", "", "updates made before this row; 0 = at initialisation"),
    Column("axis", "string", "", "", "depth, time, cell or block"),
    Column("position", "int32", "1", "l", "1 = nearest the input, or the first time step"),
    Column("module", "string", "", "", "dotted name of the module"),
)

BACKWARD = "no gradient reached the module's output in this step"
FORWARD = "no call of the module in this step, or none with a gradient"
ACTIVATION = f"{FORWARD}; watch: no activation module follows"
WEIGHTS = "no weights"
UPDATED = f"{WEIGHTS}, or none with a gradient in this step (frozen, or not used)"

STATISTICS = (
    _f64("weight_grad_norm", "loss", "‖dLoss/dW_l‖_F", "gradient of the weights", UPDATED),
    _f64("bias_grad_norm", "loss", "‖dLoss/db_l‖", "gradient of the biases", "as above, of biases"),
    _f64("delta_norm", "loss", "‖dLoss/dz_l‖_F", "error signal at the layer", BACKWARD),
    _f64("act_grad_norm", "loss", "‖dLoss/da_l‖_F", "error signal before phi'", ACTIVATION),
    _f64("act_factor", "1", "‖dLoss/du_l‖ / ‖dLoss/da_l‖", "gain of phi'", f"{ACTIVATION}; 0/0"),
    _f64(
        "weight_factor",
        "1",
        "‖W_l^T delta_l‖ / ‖delta_l‖",
        "gain of W_l^T; of a block; of a cell's gate",
        f"{BACKWARD}, or its input has none; 0/0",
    ),
    _f64(
        "norm_factor",
        "1",
        "‖dLoss/dz_l‖ / ‖dLoss/du_l‖ · ‖dLoss/da_l‖ / ‖dLoss/dh_l‖",
        "gain of normalisation; 1 without",
        f"{ACTIVATION}; 0/0",
    ),
    _f64("preact_mean", "1", "mean(u_l)", "mean over samples and units", FORWARD),
    _f64("preact_std", "1", "std(u_l)", "population standard deviation of the same", FORWARD),
    _f64("act_mean", "1", "mean(a_l)", "mean over samples and units", ACTIVATION),
    _f64("act_std", "1", "std(a_l)", "population standard deviation of the same", ACTIVATION),
    _f64(
        "saturated",
        "1",
        "mean(|phi'(u_l)| < 0.05 max|phi'|)",
        "fraction of entries",
        f"{ACTIVATION}; gates",
    ),
    _f64(
        "dead",
        "1",
        "mean over units of [phi'(u_l) = 0 for the whole batch]",
        "fraction of units",
        f"{ACTIVATION}; gates",
    ),
    _f64("weight_norm", "1", "‖W_l‖_F", "before the step's update", WEIGHTS),
    _f64(
        "update_ratio",
        "1",
        "‖W_after − W_before‖_F / ‖W_before‖_F",
        "learning speed of the layer",
        f"{WEIGHTS}, or every one frozen; 0/0",
    ),
    _f64("weight_count", "1", "", "number of entries of W_l", WEIGHTS),
    _f64(
        "unit_spread",
        "1",
        "‖dLoss/dW_l − its mean over units‖_F / ‖dLoss/dW_l‖_F",
        "0 = all units of the layer have the same gradient",
        f"{UPDATED}; a single unit; 0/0",
    ),
    _f64("grad_zeros", "1", "mean(dLoss/dW_l = 0)", "fraction of exact zeros", UPDATED),
    _f64("grad_nonfinite", "1", "mean(dLoss/dW_l is inf or NaN)", "fraction of entries", UPDATED),
)

LAYERS = KEYS + STATISTICS
"""Columns of `layers.parquet`: a row for each recorded step and module."""

STEPS = (
    KEYS[0],
    _f64(
        "loss",
        "loss",
        "mean over the batch",
        "training loss, before the step's update",
        "watch: no backward pass began at a scalar",
    ),
    _f64("accuracy", "1", "", "fraction of the batch classified right", "regression; watch"),
    _f64(
        "grad_norm",
        "loss",
        "‖dLoss/dtheta‖",
        "over all parameters, before clipping",
        "no parameter has a gradient",
    ),
    _f64("clip_factor", "1", "‖clipped‖ / ‖dLoss/dtheta‖", "1 = not clipped", "as grad_norm"),
    _f64("lr", "1", "", "learning rate of the step", "the optimiser has none"),
    _f64(
        "descent",
        "1",
        "(Loss_after − Loss) / (dLoss/dtheta · (theta_after − theta)), same batch",
        "1 = the loss fell as the gradient predicts, below 0 = the step overshot and it rose",
        "watch; steps that are not recorded, and all but every tenth; where rounding hides it",
    ),
    _f64("seconds", "s", "", "since training began"),
)
"""Columns of `steps.parquet`: a row for each training step."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """Return the columns' names, in file order.

    Args:
        columns: `LAYERS`, `STATISTICS` or `STEPS`.
    """
    return [column.name for column in columns]
