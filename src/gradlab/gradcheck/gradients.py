"""`gradlab.check_gradients` for torch modules, hand-written networks and plain functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.errors import CheckError, nearest
from gradlab.gradcheck.comparison import compare
from gradlab.gradcheck.gradient_report import GradientReport, Options
from gradlab.gradcheck.hand_written import check_network
from gradlab.reference.activation_functions import Array
from gradlab.reference.dense import Dense
from gradlab.reference.differences import POWERS
from gradlab.reference.loss_functions import LOSSES

if TYPE_CHECKING:
    from torch import nn

Arrays = Array | Mapping[str, Array]


def check_gradients(
    subject: "nn.Module | Sequence[Dense] | Callable[[Any], float]",
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    gradient: Callable[[Any], Arrays] | None = None,
    scheme: str = "two_sided",
    samples: int | None = 25,
    tolerance: float = 1e-5,
    floor: float | None = None,
    seed: int = 0,
) -> GradientReport:
    """Compare analytic gradients with finite differences in float64, and locate errors.

    There are three kinds of subjects:

    - a torch module: `check_gradients(model, x, y, loss=mse_loss)`;
    - a list of layers of `gradlab.reference.dense`: `check_gradients(layers, x, y, loss=MSE())`;
    - a function f with its gradient g: `check_gradients(f, x, gradient=g)`. Here f(x) is a number.

    The check moves each element by h = eps^(1/3) times its scale (one-sided: eps^(1/2)). Let a be
    the analytic and n the numeric derivative. The element is wrong if
    |a - n| / max(|a|, |n|, floor) is above the tolerance. Elements within h of a kink, such as
    ReLU at 0, are counted separately.

    Args:
        subject: a torch module, a list of layers, or a plain function.
        x: the input. For a module with several inputs, a tuple. For a plain function, an array or a
            dict of arrays in the order of their use.
        y: the target.
        loss: a function of (output, target) that returns one number, or the name of a loss.
        gradient: the gradient of a plain function: returns an array or a dict, like x.
        scheme: "two_sided" or "one_sided".
        samples: the number of elements checked in each array; None for all. The sample is random
            and contains the largest element.
        tolerance: the relative error above which an element is wrong.
        floor: the smallest denominator of the relative error; None to derive it from rounding.
        seed: the seed of the sample, and of torch's generator during the check.

    Returns:
        A report. Its `.passed` is False if a gradient is wrong; print it to see each array.

    Raises:
        CheckError: the subject has no gradient that can be checked. A wrong gradient raises no
            error.

    Example:
        >>> import numpy as np
        >>> f, gradient = lambda x: (x**3).sum(), lambda x: 3 * x**2
        >>> check_gradients(f, np.ones(4), gradient=gradient).passed
        True
    """
    if scheme not in POWERS:
        raise CheckError(f"scheme={scheme} is not a choice; {nearest(str(scheme), POWERS)}")
    _check_arguments(samples, tolerance, floor, seed)
    options = Options(scheme, samples, tolerance, floor, seed)
    if gradient is not None:
        if not callable(subject) or hasattr(subject, "named_parameters"):
            raise CheckError(f"expected a function with `gradient`, given a {_class_name(subject)}")
        return _check_function(subject, x, gradient, options)
    if (
        isinstance(subject, Sequence)
        and subject
        and all(isinstance(layer, Dense) for layer in subject)
    ):
        return check_network(subject, np.asarray(x), np.asarray(y), _numpy_loss(loss), options)
    if hasattr(subject, "named_parameters"):
        from gradlab.gradcheck.module_check import check_module

        inputs = x if isinstance(x, tuple) else (x,)
        return check_module(subject, inputs, y, _torch_loss(loss), options)  # pyright: ignore
    raise CheckError(
        f"expected a torch module, a list of Dense layers, or a function with `gradient`, "
        f"given a {_class_name(subject)}"
    )


def _check_arguments(samples: Any, tolerance: Any, floor: Any, seed: Any) -> None:
    """Check the values of the options.

    Args:
        samples: None or a positive whole number.
        tolerance: a positive number.
        floor: None or a number of at least 0.
        seed: a whole number of at least 0.

    Raises:
        CheckError: a value is not allowed.
    """

    def is_real(value: Any) -> bool:
        real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        return real and bool(np.isfinite(value))

    for name, value, is_valid, expected in (
        ("samples", samples, lambda v: v is None or (is_real(v) and v == int(v) >= 1), "1, 2, …"),
        ("tolerance", tolerance, lambda v: is_real(v) and v > 0, "a number above 0"),
        ("floor", floor, lambda v: v is None or (is_real(v) and v >= 0), "None or at least 0"),
        ("seed", seed, lambda v: is_real(v) and v == int(v) and 0 <= v < 2**63, "0, 1, …"),
    ):
        if not is_valid(value):
            raise CheckError(f"{name}={value!r}: expected {expected}")


def _check_function(
    f: Callable[[Any], float], x: Any, gradient: Callable[[Any], Arrays], options: Options
) -> GradientReport:
    """Check the gradient of a plain function.

    Args:
        f: returns one number.
        x: the point, an array or a dict of arrays.
        gradient: returns the gradient at a point, like x.
        options: the options of the check.

    Returns:
        The report, one row for each array.

    Raises:
        CheckError: the function is random, or does not return one finite real number.
    """
    is_dict = isinstance(x, Mapping)
    try:
        arrays = {name: np.array(v, np.float64) for name, v in (x if is_dict else {"x": x}).items()}
    except (TypeError, ValueError) as error:
        raise CheckError(f"expected x to be real numbers: {str(error).splitlines()[0]}") from error
    point: Any = arrays if is_dict else arrays["x"]

    def value() -> float:
        out = np.asarray(f(point))
        if out.dtype.kind not in "fiu":
            raise CheckError(f"expected a function of one real number, given {out.dtype}")
        if out.size != 1:
            raise CheckError(f"expected a function of one number, given shape {list(out.shape)}")
        if not np.isfinite(out).all():
            raise CheckError(
                f"the function is {float(out.reshape(()))}: there is no gradient to check"
            )
        return float(out.reshape(()))

    if value() != value():
        raise CheckError("the function is random: two evaluations at the same point differ")
    returned: Any = gradient(point)
    if is_dict and (not isinstance(returned, Mapping) or set(returned) != set(arrays)):
        raise CheckError(f"expected a gradient with the keys {', '.join(arrays)}")
    grads = {n: np.array(returned[n] if is_dict else returned, np.float64) for n in arrays}
    options = options.for_gradients(grads.values())
    rows = [compare(name, value, array, grads[name], options) for name, array in arrays.items()]
    wrong = [row.name for row in rows if row.wrong]
    # An error makes all gradients before it wrong: it enters at the last wrong array.
    return GradientReport(rows, options, enters=wrong[-1:])


def _numpy_loss(loss: Any) -> Any:
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise CheckError(f"loss={loss} is not a choice; {nearest(loss, LOSSES)}")
        return LOSSES[loss]()
    if not hasattr(loss, "derivative"):
        raise CheckError(
            f"expected a loss of gradlab.reference.loss_functions, given a {_class_name(loss)}"
        )
    return loss


def _torch_loss(loss: Any) -> Any:
    if isinstance(loss, str):
        from functools import partial

        from gradlab.config import choices
        from gradlab.config.choices import component
        from gradlab.errors import SettingsError

        try:
            return partial(component(choices.load("loss", loss), ("scale", "tasks")).call)
        except SettingsError as error:
            raise CheckError(str(error)) from error
    if not callable(loss):
        raise CheckError(
            f"expected a loss, a function of (output, target), given a {_class_name(loss)}"
        )
    return loss


def _class_name(value: Any) -> str:
    return type(value).__name__
