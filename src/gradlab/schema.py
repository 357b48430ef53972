"""The columns of a run's files: name, dtype, unit, formula, meaning, and when the value is null.

`recording/columns.py` computes the columns for `gradlab run` and for `gradlab.watch`.

null means "not measured". NaN and inf mean "measured, and not finite". In memory, in Parquet files
and in frames, null and NaN differ. The ratio 0/0 is null.

Notation: the network has linear maps l = 1..L, 1 nearest the input. The loss is the *mean* over the
samples of a batch.

    z_l = W_l h_{l-1} + b_l      pre-activation
    u_l = norm(z_l) or z_l       input of the activation
    a_l = phi(u_l)               post-activation
    h_l = norm(a_l) or a_l       input of the next layer; h_0 is the input
    delta_l = dLoss/dz_l         error signal

A norm covers all entries (Frobenius). For a signal, these are the units, the samples of the batch,
and the positions of an image or the steps of a sequence. Positions and steps count as samples.

The column `axis` has four values.

depth
    A row for each layer. In a recurrent layer, h_t = phi(W x_t + V h_{t-1} + b), W_l is [W V], and
    `weight_factor` uses W.

time
    A row for each time step of a recurrent layer. The linear map is V:

        z_t = W x_t + V h_{t-1} + b      delta_t = dLoss/dz_t, the gradient that arrives at V
        `act_grad_norm`                  ‖dLoss/dh_t‖, through later steps and layers
        `weight_factor`                  ‖V^T delta_t‖ / ‖delta_t‖
        `weight_grad_norm`               ‖delta_t^T h_{t-1}‖, the share of step t in dLoss/dV

    If the loss reads only the last step, and no gate passes h_{t-1} around V (a GRU's does), then
    ‖dLoss/dh_{t-1}‖ = ‖dLoss/dh_t‖ · act_factor_t · norm_factor_t · weight_factor_t. In a gated
    layer, `act_factor` is the gain of all gates together.

cell
    A row for each time step of the cell of a gated layer, c_t = k_t c_{t-1} + new content. In an
    LSTM, k = σ(f) is the forget gate. In a GRU, c is h before normalisation, and k = σ(u).

        `act_grad_norm`                  ‖dLoss/dc_t‖, through all paths
        `act_mean`, `act_std`            mean and standard deviation of c_t
        `weight_factor`                  ‖k_t dLoss/dc_t‖ / ‖dLoss/dc_t‖, the gain of the direct
                                         path to c_{t-1}

    The other columns are null.

block
    A row for each block of a network with skip connections, whose output is h_l:

        `act_grad_norm`                  ‖dLoss/dh_l‖
        `act_mean`, `act_std`            mean and standard deviation of h_l
        `weight_factor`                  ‖dLoss/dh_{l-1}‖ / ‖dLoss/dh_l‖, the gain of the block

    The other columns are null.
"""

from dataclasses import dataclass

VERSION = 4

STATUSES = ("running", "completed", "diverged", "failed", "interrupted")
KINDS = (
    "overflow",
    "skipped",
    "symmetric",
    "dead",
    "exploding",
    "vanishing",
    "underflow",
    "saturated",
    "unstable",
    "starved",
    "below_eps",
    "spike",
    "not_learning",
    "clipping",
)
"""Kinds of findings, most severe first. The first finding that is not a note is the verdict."""
LEARNING = ("not_learning", "too_early", "learning", "learned")
"""Answers to the question whether a network learns, worst first."""
VERDICTS = ("healthy", "too_early", *KINDS[:-1], "diverged")
AXES = ("depth", "time", "cell", "block")


@dataclass(frozen=True)
class Column:
    """A column of a Parquet file.

    Attributes:
        name: Name of the column.
        unit: "1" for a pure number, "loss" for the unit of the loss, "s" for seconds, "updates".
        formula: Definition in the notation of this module.
        meaning: One phrase in words.
        null: Cases in which the value is null; empty if it never is.
        dtype: "int32", "float64" or "string".
    """

    name: str
    unit: str
    formula: str
    meaning: str
    null: str = ""
    dtype: str = "float64"


KEYS = (
    Column(
        "step", "updates", "", "updates made before this row; 0 = at initialisation", dtype="int32"
    ),
    Column(
        "axis",
        "",
        "",
        "direction that `position` counts: depth, time, cell or block",
        dtype="string",
    ),
    Column(
        "position",
        "1",
        "l",
        "number of the layer, block or time step; 1 is nearest the input or the first in time",
        dtype="int32",
    ),
    Column("module", "", "", "name of the module in the network, such as layers.0", dtype="string"),
)

BACKWARD = "no gradient reached the module's output in this step"
FORWARD = "the module was not called in this step, or no call had a gradient"
ACTIVATION = f"{FORWARD}; in gradlab.watch, no activation module follows"
WEIGHTS = "the module has no weights"
UPDATED = f"{WEIGHTS}, or they have no gradient in this step (frozen or unused)"

STATISTICS = (
    Column(
        "weight_grad_norm",
        "loss",
        "‖dLoss/dW_l‖_F",
        "norm of the gradient of the weights, before clipping",
        UPDATED,
    ),
    Column(
        "bias_grad_norm",
        "loss",
        "‖dLoss/db_l‖",
        "norm of the gradient of the bias, before clipping",
        "the module has no bias, or it has no gradient in this step (frozen or unused)",
    ),
    Column(
        "delta_norm",
        "loss",
        "‖dLoss/dz_l‖_F",
        "norm of the error signal, the gradient of the layer's output before its activation",
        BACKWARD,
    ),
    Column(
        "act_grad_norm",
        "loss",
        "‖dLoss/da_l‖_F",
        "norm of the gradient of the activation's output",
        ACTIVATION,
    ),
    Column(
        "act_factor",
        "1",
        "‖dLoss/du_l‖ / ‖dLoss/da_l‖",
        "factor by which the activation changes the gradient's norm in the backward pass",
        f"{ACTIVATION}; the ratio is 0/0",
    ),
    Column(
        "weight_factor",
        "1",
        "‖W_l^T delta_l‖ / ‖delta_l‖",
        "factor by which the weights (a block; a cell's gate) change the gradient's norm",
        f"{BACKWARD}, or none reached the module's input; the ratio is 0/0",
    ),
    Column(
        "norm_factor",
        "1",
        "‖dLoss/dz_l‖ / ‖dLoss/du_l‖ · ‖dLoss/da_l‖ / ‖dLoss/dh_l‖",
        "factor by which the normalisation changes the gradient's norm; 1 without one",
        f"{ACTIVATION}; the ratio is 0/0",
    ),
    Column(
        "preact_mean",
        "1",
        "mean(u_l)",
        "mean of the activation's input over samples and units",
        FORWARD,
    ),
    Column("preact_std", "1", "std(u_l)", "standard deviation of the activation's input", FORWARD),
    Column(
        "act_mean",
        "1",
        "mean(a_l)",
        "mean of the activation's output over samples and units",
        ACTIVATION,
    ),
    Column("act_std", "1", "std(a_l)", "standard deviation of the activation's output", ACTIVATION),
    Column(
        "saturated",
        "1",
        "mean(|phi'(u_l)| < 0.05 max|phi'|)",
        "fraction of entries where phi' is below 5% of its maximum",
        f"{ACTIVATION}; the layer has gates",
    ),
    Column(
        "dead",
        "1",
        "mean over units of [phi'(u_l) = 0 for the whole batch]",
        "fraction of units where phi' is 0 for all samples of the batch",
        f"{ACTIVATION}; the layer has gates",
    ),
    Column("weight_norm", "1", "‖W_l‖_F", "norm of the weights before the update", WEIGHTS),
    Column(
        "update_ratio",
        "1",
        "‖W_after − W_before‖_F / ‖W_before‖_F",
        "norm of the weights' change by the update, divided by the norm of the weights",
        f"{WEIGHTS}, or all are frozen; the ratio is 0/0",
    ),
    Column("weight_count", "1", "", "number of weights", WEIGHTS),
    Column(
        "unit_spread",
        "1",
        "‖dLoss/dW_l − its mean over units‖_F / ‖dLoss/dW_l‖_F",
        "difference between the units' gradients: 0 = all are equal, about 1 = independent",
        f"{UPDATED}; the layer has one unit; the ratio is 0/0",
    ),
    Column(
        "grad_zeros",
        "1",
        "mean(dLoss/dW_l = 0)",
        "fraction of the weight gradient's entries that are exactly 0",
        UPDATED,
    ),
    Column(
        "grad_nonfinite",
        "1",
        "mean(dLoss/dW_l is inf or NaN)",
        "fraction of the weight gradient's entries that are inf or NaN",
        UPDATED,
    ),
)

LAYERS = KEYS + STATISTICS
"""Columns of `layers.parquet`, which has a row for each recorded step and module."""

NO_GRADIENT = "no parameter has a gradient"

STEPS = (
    KEYS[0],
    Column(
        "loss",
        "loss",
        "mean over the batch",
        "training loss of the batch, before the update",
        "in gradlab.watch, no backward pass began at a scalar",
    ),
    Column(
        "accuracy",
        "1",
        "",
        "fraction of samples of the batch that are classified correctly",
        "regression; in gradlab.watch",
    ),
    Column(
        "grad_norm",
        "loss",
        "‖dLoss/dtheta‖",
        "norm of the gradient of all parameters together, before clipping",
        NO_GRADIENT,
    ),
    Column(
        "clip_factor",
        "1",
        "‖clipped‖ / ‖dLoss/dtheta‖",
        "norm of the gradient after clipping, divided by the norm before; 1 = not clipped",
        NO_GRADIENT,
    ),
    Column(
        "lr",
        "1",
        "",
        "learning rate of the first parameter group of the optimiser",
        "the optimiser has no learning rate",
    ),
    Column(
        "descent",
        "1",
        "(Loss_after − Loss) / (dLoss/dtheta · (theta_after − theta)), same batch",
        "measured change of the batch's loss, divided by the change that the gradient predicts; "
        "below 0 = the loss rose",
        "in gradlab.watch; at steps where it is not measured; where rounding hides the change",
    ),
    Column("seconds", "s", "", "seconds since the start of the training"),
)
"""Columns of `steps.parquet`, which has a row for each training step."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """Return the names of columns, in file order.

    Args:
        columns: `LAYERS`, `STATISTICS` or `STEPS`.
    """
    return [column.name for column in columns]
