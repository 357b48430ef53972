"""Explain why an operation returned inf or NaN: its arguments, the reason and the remedy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gradlab.nonfinite.operations import Operation
from gradlab.nonfinite.tensor_range import TensorRange

USUAL = {
    "_to_copy": "to",
    "to_copy": "to",
    "addmm": "linear",
    "addmv": "linear",
    "mm": "matmul",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "mv": "matmul",
    "dot": "matmul",
    "unsafe_view": "matmul",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "native_batch_norm": "batch_norm",
    "cudnn_batch_norm": "batch_norm",
    "native_dropout": "dropout",
    "nll_loss_forward": "nll_loss",
    "nll_loss2d_forward": "nll_loss",
    "linalg_vector_norm": "norm",
    "convolution": "conv",
    "mkldnn_convolution": "conv",
    "cudnn_convolution": "conv",
    "rsub": "sub",
    "log_softmax_backward_data": "log_softmax",
    "softmax_backward_data": "softmax",
}
"""The name that users know, by the name of the operation that runs."""
LINEAR = ("linear", "matmul", "conv", "einsum")
HALF = ("float16",)


@dataclass(frozen=True)
class Explanation:
    """Why an operation returned inf or NaN.

    Attributes:
        received: Its arguments, as `received 0`.
        reason: A clause, as `its derivative there is infinite`.
        remedy: Code that avoids it; empty if it is unknown.
    """

    received: str
    reason: str
    remedy: str = ""


Rule = Callable[[Operation], Explanation | None]


def usual_name(name: str) -> str:
    """Return the name of an operation that users know: `linear` for `addmm`."""
    return USUAL.get(name, name)


def shown_name(operation: Operation) -> str:
    """Return the name of an operation for a sentence: `conv2d` for a `convolution` of images."""
    name = usual_name(operation.name)
    if name == "conv" and operation.inputs:
        return f"conv{len(operation.inputs[0].shape) - 2}d"
    return name


def explain(operation: Operation, hidden: bool = False) -> Explanation:
    """Explain why an operation returned inf or NaN.

    Args:
        operation: The operation.
        hidden: Whether the forward pass discards the result, as `torch.where` does, so that only
            the gradient is not finite.

    Returns:
        The explanation; a general one for an operation without a rule.
    """
    rules = DERIVATIVES if operation.kernel else VALUES
    found = rules.get(usual_name(operation.name), lambda _: None)(operation)
    if found is None:
        found = _general(operation)
    if hidden:
        reason = f"{found.reason}. The loss does not use this entry, but its gradient is 0 · inf"
        remedy = f"before torch.where or the mask: {found.remedy}" if found.remedy else ""
        return Explanation(found.received, reason, remedy)
    return found


def number(value: float) -> str:
    """Return a number for a sentence: `0`, `-0.31`, `70,000`, `1.2e+19`."""
    if value == int(value) if math.isfinite(value) else False:
        return f"{int(value):,}" if abs(value) < 1e6 else f"{value:.3g}"
    return f"{value:.3g}" if abs(value) < 1000 or abs(value) >= 1e6 else f"{value:,.0f}"


def largest(dtype: str) -> str:
    """Return the largest number of a dtype as a clause: `65,504, the largest number of float16`."""
    value = torch.finfo(getattr(torch, dtype)).max
    return f"{number(value)}, the largest number of {dtype}"


# Values of the forward pass


def _log(op: Operation) -> Explanation | None:
    x = _first(op)
    shifted = op.name == "log1p"
    edge = -1.0 if shifted else 0.0
    safe = f"{op.name}(x.clamp(min={'-1 + 1e-6' if shifted else '1e-8'}))"
    if x == edge:
        return Explanation(_received(op), f"{op.name}({number(edge)}) is -inf", f"torch.{safe}")
    if x is not None and x < edge:
        return Explanation(
            _received(op), f"{op.name} of a number below {number(edge)} is NaN", f"torch.{safe}"
        )
    return None


def _sqrt(op: Operation) -> Explanation | None:
    x = _first(op)
    if x is not None and x < 0:
        reason = "the square root of a negative number is NaN"
        return Explanation(_received(op), reason, f"torch.{op.name}(x.clamp(min=1e-12))")
    if x == 0:
        return Explanation(
            "received 0", f"{op.name}(0) is inf", f"torch.{op.name}(x.clamp(min=1e-12))"
        )
    return None


def _div(op: Operation) -> Explanation | None:
    if op.name == "reciprocal":
        values: tuple[float, ...] = (1.0, *op.values)
    else:
        values = op.values
    if len(values) == 2 and values[1] == 0:
        result = "NaN" if values[0] == 0 else "inf"
        text = f"{number(values[0])} / 0"
        return Explanation(f"received {text}", f"{text} is {result}", "x / (y + 1e-8)")
    if len(values) == 2 and all(map(math.isinf, values)):
        return Explanation("received inf / inf", "inf / inf is NaN")
    return _too_large(op)


def _modulo(op: Operation) -> Explanation | None:
    if op.values[1:] == (0.0,):
        return Explanation("received a divisor of 0", f"{op.name} by 0 is NaN")
    return None


def _pow(op: Operation) -> Explanation | None:
    base = _first(op)
    if base == 0:
        return Explanation("received the base 0", "0 to a negative power is inf", "(x + 1e-8) ** p")
    if base is not None and base < 0 and op.output is not None and op.output.nans:
        reason = "a negative number to a fractional power is NaN"
        return Explanation(f"received the base {number(base)}", reason, "x.clamp(min=0) ** p")
    return _too_large(op)


def _exp(op: Operation) -> Explanation | None:
    x, out = _first(op), op.output
    if x is None or out is None or not math.isfinite(x):
        return None
    limits = {"exp": math.log, "expm1": math.log, "exp2": math.log2, "sinh": math.asinh}
    limits["cosh"] = math.acosh
    limit = limits[op.name](torch.finfo(getattr(torch, out.dtype)).max)
    reason = f"{op.name}(x) exceeds {largest(out.dtype)}, for x above {number(limit)}"
    return Explanation(_received(op), reason, f"torch.{op.name}(x.clamp(max={limit:.0f}))")


def _domain(low: float, high: float) -> Rule:
    def rule(op: Operation) -> Explanation | None:
        x = _first(op)
        if x is None or low < x < high:
            return None
        result = "infinite" if x in (low, high) else "NaN"
        reason = f"{op.name} is {result} there, its range is {number(low)} to {number(high)}"
        bounds = f"{low:g} + 1e-6, {high:g} - 1e-6" if math.isfinite(high) else f"min={low:g}"
        return Explanation(_received(op), reason, f"torch.{op.name}(x.clamp({bounds}))")

    return rule


def _softmax(op: Operation) -> Explanation | None:
    x = op.inputs[0] if op.inputs else None
    if x is not None and x.negative_infs and not x.infs:
        return Explanation(
            "received a row that is -inf throughout",
            "every entry of the row is masked, and softmax then divides 0 by 0",
            "leave at least one entry of each row unmasked",
        )
    if x is not None and x.infs:
        return Explanation("received inf", "inf - inf is NaN")
    return None


def _spread(op: Operation) -> Explanation | None:
    size = math.prod(op.inputs[0].shape) if op.inputs else 0
    out = math.prod(op.output.shape) if op.output else 1
    if (size and size == out) or size == 1:
        name = "standard deviation" if "std" in op.name else "variance"
        reason = f"the {name} of one number divides 0 by 0"
        return Explanation("received one number", reason, f"{op.name}(correction=0)")
    return _too_large(op)


def _mean(op: Operation) -> Explanation | None:
    if op.inputs and not math.prod(op.inputs[0].shape):
        return Explanation(
            "received no numbers", "the mean of no numbers is 0 / 0", "skip empty batches"
        )
    return _too_large(op)


def _ctc(op: Operation) -> Explanation | None:
    return Explanation(
        "received a label that needs more steps than the output has",
        "the loss is then inf: two equal letters in a row need a blank between them",
        "more output steps (a smaller stride), or CTCLoss(zero_infinity=True)",
    )


def _singular(op: Operation) -> Explanation | None:
    return Explanation(_received(op), "the matrix is singular", "add a small multiple of eye")


def _too_large(op: Operation) -> Explanation | None:
    """Explain a result beyond the largest number of its dtype; the inputs must be finite."""
    inputs = op.kernel_inputs if op.kernel else op.inputs
    out = op.output
    if out is None or not hasattr(torch, out.dtype) or not all(r.is_finite for r in inputs):
        return None
    sizes = [_size(r) for r in inputs if r.dtype.startswith(("float", "bfloat"))]
    if not sizes:
        return None
    received = "received values up to " + " and ".join(number(each) for each in sizes[-2:])
    what = "the gradient" if op.backward else "the result"
    if out.dtype in HALF:
        remedy = "compute it in float32: with torch.autocast(device, enabled=False): f(x.float())"
        if op.backward:
            remedy = "a smaller loss scale, or compute it in float32"
    else:
        remedy = "smaller weights or a smaller learning rate; clip the gradient's norm"
    return Explanation(received, f"{what} exceeds {largest(out.dtype)}", remedy)


def _mul(op: Operation) -> Explanation | None:
    if 0.0 in op.values and any(map(math.isinf, op.values)):
        return Explanation(
            "received 0 · inf", "0 · inf is NaN", "torch.where in place of a product"
        )
    return _too_large(op)


def _add(op: Operation) -> Explanation | None:
    if len(op.values) == 2 and all(map(math.isinf, op.values)):
        return Explanation("received inf and -inf", "inf - inf is NaN")
    return _too_large(op)


VALUES: Mapping[str, Rule] = {
    **dict.fromkeys(("log", "log2", "log10", "log1p"), _log),
    **dict.fromkeys(("sqrt", "rsqrt"), _sqrt),
    **dict.fromkeys(("div", "true_divide", "reciprocal"), _div),
    **dict.fromkeys(("remainder", "fmod"), _modulo),
    "pow": _pow,
    **dict.fromkeys(("exp", "expm1", "exp2", "sinh", "cosh"), _exp),
    **dict.fromkeys(("acos", "asin", "atanh", "erfinv"), _domain(-1.0, 1.0)),
    "acosh": _domain(1.0, math.inf),
    "logit": _domain(0.0, 1.0),
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp", "safe_softmax"), _softmax),
    **dict.fromkeys(("std", "var", "var_mean", "std_mean"), _spread),
    "mean": _mean,
    "ctc_loss": _ctc,
    **dict.fromkeys(
        ("linalg_inv_ex", "linalg_det", "linalg_slogdet", "linalg_solve_ex"), _singular
    ),
    "mul": _mul,
    **dict.fromkeys(("add", "sub"), _add),
}
"""By usual name: why the value is inf or NaN."""

# Derivatives


def _derivative(edge: str, reason: str, remedy: str, *at: float) -> Rule:
    """Return a rule for an operation whose derivative is infinite at some points.

    Args:
        edge: The points in words.
        reason: The reason.
        remedy: Code that avoids it.
        at: The points; the input's range must contain one of them.
    """

    def rule(op: Operation) -> Explanation | None:
        x = op.inputs[0] if op.inputs else None
        near = x is None or not at or any(x.low <= each <= x.high for each in at)
        return Explanation(f"received {edge}", reason, remedy) if near else _overflow_back(op)

    return rule


INFINITE = "its derivative there is infinite"


def _at_one(op: Operation) -> Explanation | None:
    x = op.inputs[0] if op.inputs else None
    edge = "1" if x is None or x.high == 1 else "-1"
    safe = f"torch.{op.name}(x.clamp(-1 + 1e-6, 1 - 1e-6))"
    return Explanation(f"received {edge}", INFINITE, safe)


def _div_back(op: Operation) -> Explanation | None:
    y = op.inputs[1] if len(op.inputs) > 1 else None
    if y is not None and not y.low <= 0 <= y.high:
        return _overflow_back(op)
    return Explanation(
        "received a divisor of 0", "its derivative divides by 0", "x / torch.where(y == 0, 1, y)"
    )


def _overflow_back(op: Operation) -> Explanation | None:
    return _too_large(op)


EQUAL_VALUES = _derivative(
    "a matrix with equal singular values or eigenvalues",
    "the derivative divides by their difference",
    "add small noise to the matrix",
)
DERIVATIVES: Mapping[str, Rule] = {
    "sqrt": _derivative("0", INFINITE, "torch.sqrt(x.clamp(min=1e-12))", 0.0),
    "rsqrt": _derivative("0", INFINITE, "torch.rsqrt(x.clamp(min=1e-12))", 0.0),
    "pow": _derivative("the base 0", INFINITE, "(x + 1e-12) ** p", 0.0),
    **dict.fromkeys(("log", "log2", "log10"), _derivative("0", INFINITE, "log(x + 1e-8)", 0.0)),
    "log1p": _derivative("-1", INFINITE, "log1p(x.clamp(min=-1 + 1e-6))", -1.0),
    **dict.fromkeys(("acos", "asin", "atanh", "erfinv"), _at_one),
    "acosh": _derivative("1", INFINITE, "torch.acosh(x.clamp(min=1 + 1e-6))", 1.0),
    **dict.fromkeys(("div", "true_divide", "reciprocal"), _div_back),
    **dict.fromkeys(("linalg_eigh", "linalg_svd", "svd"), EQUAL_VALUES),
    "ctc_loss": _ctc,
    "ctc": _ctc,
}
"""By usual name: why the derivative is inf or NaN."""


def _general(op: Operation) -> Explanation:
    if (found := _too_large(op)) is not None and _is_overflow(op):
        return found
    result = "NaN" if op.output is not None and op.output.nans else "inf"
    if op.backward:
        kernel = f", in `{op.kernel}`" if op.kernel else ""
        return Explanation(_received(op), f"a finite gradient becomes {result}{kernel}")
    return Explanation(_received(op), f"its result is {result}")


def _is_overflow(op: Operation) -> bool:
    """Return whether the inputs are so large that a product or a sum may exceed the dtype."""
    out = op.output
    inputs = op.kernel_inputs if op.kernel else op.inputs
    if out is None or not hasattr(torch, out.dtype):
        return False
    most = torch.finfo(getattr(torch, out.dtype)).max
    top = max((_size(r) for r in inputs), default=0.0)
    count = max((math.prod(r.shape) for r in inputs), default=1)
    product = math.prod(max(_size(r), 1.0) for r in inputs)
    return max(top, 1.0) * max(top, product) * count >= most  # a square, or a product


def _size(r: TensorRange) -> float:
    return 0.0 if math.isnan(r.low) else max(abs(r.low), abs(r.high))


def _first(op: Operation) -> float | None:
    """Return the entry of the first input behind the result; else an end of its range."""
    if op.values:
        return op.values[0]
    return op.inputs[0].low if op.inputs and not math.isnan(op.inputs[0].low) else None


def _received(op: Operation) -> str:
    if op.values and not op.backward:
        return "received " + " and ".join(number(each) for each in op.values)
    shown = "; ".join(str(each) for each in op.inputs[:3])
    return f"received {shown}" if shown else "returned a number that is not finite"
