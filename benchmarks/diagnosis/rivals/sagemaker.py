"""Amazon SageMaker Debugger's built-in rules, with their default parameters.

Source: "List of Debugger Built-in Rules", Amazon SageMaker Developer Guide (the page's Markdown in
awsdocs/amazon-sagemaker-developer-guide, debugger-built-in-rules). A rule that returns True at any
saved step has found an issue.

Left out are LossNotDecreasing, which compares the losses of two batches and fires on noise, and the
rules on data, trees, and other trials.
"""

from diagnosis.record import Record
from diagnosis.rivals.tables import any_over, by_layer, nonfinite

VANISHED = 1e-7  # VanishingGradient: mean |g| of a tensor
LARGE, SMALL, EPSILON = 10.0, 1e-8, 1e-9  # WeightUpdateRatio
LAYER = 0.5  # DeadRelu, SaturatedActivation: of a layer's nodes; a node is active 1% of the time
VARIANCES, RANGE, STEPS = 10.0, 0.001, 10  # PoorWeightInitialization


def sagemaker(record: Record) -> set[str]:
    """Apply VanishingGradient, ExplodingTensor, DeadRelu, SaturatedActivation, WeightUpdateRatio.

    And AllZero, on gradients. A gradient that becomes "extremely small or drops to zero" may be
    vanishing or underflow; an exploding tensor is "non-finite".
    """
    found: set[str] = set()
    if (by_layer(record, "grad_mean_abs") < VANISHED).any(axis=None):
        found |= {"vanishing", "underflow"}
    if nonfinite(record):
        found |= {"exploding", "overflow"}
    if record.activation == "relu" and any_over(record, "units_inactive", LAYER):
        found.add("dead")
    kind = {"tanh": "units_out_tanh", "sigmoid": "units_out_sigmoid"}.get(record.activation)
    if kind and any_over(record, kind, LAYER):
        found.add("saturated")
    return found | _update_ratio(record)


def _update_ratio(record: Record) -> set[str]:
    """Compare the mean size of an update and of the weights before it, tensor by tensor."""
    ratio = by_layer(record, "update_mean_abs") / (by_layer(record, "weight_mean_abs") + EPSILON)
    found = {"unstable"} if (ratio > LARGE).any(axis=None) else set[str]()
    return found | ({"starved"} if (ratio < SMALL).any(axis=None) else set())


def sagemaker_with_initialisation(record: Record) -> set[str]:
    """Apply PoorWeightInitialization too, in the first ten steps.

    By the guide, it uses the variances of the activations' inputs (in the text; of the
    weights, in the table) and the gradients' distribution, and returns True for each. The label
    is only "poor". The loss, which it also mentions, is left out.
    """
    early = record.seen[record.seen["step"] < STEPS]
    poor = bool(early["grad_range"].min() < RANGE)
    if "u_variance" in early:
        spread = early.groupby("step")["u_variance"].agg(["min", "max"])
        poor |= bool((spread["max"] / spread["min"] > VARIANCES).any())
    return sagemaker(record) | ({"other"} if poor else set())
