"""`gradlab.check_gradients`: for a network by hand, a torch module, or a plain function."""

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
    """Compare analytic gradients with finite differences, in float64, and locate errors.

    Three kinds of subject:

        check_gradients(model, x, y, loss=mse_loss)   a torch module, by autograd
        check_gradients(layers, x, y, loss=MSE())     layers of `gradlab.reference.dense`
        check_gradients(f, x, gradient=g)             f(x), a number, whose gradient is g(x)

    Each element is moved by h = eps^(1/3) times its scale (one-sided: eps^(1/2)). It is wrong if
    the relative error |a - n| / max(|a|, |n|, floor) is above the tolerance. Elements whose ±h
    crosses a kink, such as ReLU's at 0, are counted separately.

    Args:
        subject: what computes the gradients: one of the three kinds.
        x: the input; a tuple of inputs for a module of several; for a plain function, an array or a
            dict of arrays, in the order in which they are used.
        y: the target.
        loss: a function of (output, target) that returns one number, or the name of a loss.
        gradient: the gradient of a plain function, in the form of x.
        scheme: "two_sided" or "one_sided".
        samples: elements of each array to check, drawn at random and the largest; None for all.
        tolerance: the relative error from which an element is wrong.
        floor: the least size that errors are relative to; None for the rounding error.
        seed: of the sample, and of torch's generator, which is fixed during the check.

    Returns:
        A report; `.passed` is False if a gradient is wrong, and printing it shows each array.

    Raises:
        CheckError: the subject has no gradient to check. A wrong gradient raises nothing.

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
            raise CheckError(f"expected a function with `gradient`, given a {_kind(subject)}")
        return _check_function(subject, x, gradient, options)
    if (
        isinstance(subject, Sequence)
        and subject
        and all(isinstance(layer, Dense) for layer in subject)
    ):
        return check_network(subject, np.asarray(x), np.asarray(y), _by_hand(loss), options)
    if hasattr(subject, "named_parameters"):
        from gradlab.gradcheck.module_check import check_module

        inputs = x if isinstance(x, tuple) else (x,)
        return check_module(subject, inputs, y, _in_torch(loss), options)  # pyright: ignore
    raise CheckError(
        f"expected a torch module, a list of Dense layers, or a function with `gradient`, "
        f"given a {_kind(subject)}"
    )


def _check_arguments(samples: Any, tolerance: Any, floor: Any, seed: Any) -> None:
    def number(value: Any) -> bool:
        real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        return real and bool(np.isfinite(value))

    for name, value, holds, expected in (
        ("samples", samples, lambda v: v is None or (number(v) and v == int(v) >= 1), "1, 2, …"),
        ("tolerance", tolerance, lambda v: number(v) and v > 0, "a number above 0"),
        ("floor", floor, lambda v: v is None or (number(v) and v >= 0), "None or at least 0"),
        ("seed", seed, lambda v: number(v) and v == int(v) and 0 <= v < 2**63, "0, 1, …"),
    ):
        if not holds(value):
            raise CheckError(f"{name}={value!r}: expected {expected}")


def _check_function(
    f: Callable[[Any], float], x: Any, gradient: Callable[[Any], Arrays], options: Options
) -> GradientReport:
    named = isinstance(x, Mapping)
    try:
        arrays = {name: np.array(v, np.float64) for name, v in (x if named else {"x": x}).items()}
    except (TypeError, ValueError) as error:
        raise CheckError(f"expected x to be real numbers: {str(error).splitlines()[0]}") from error
    given: Any = arrays if named else arrays["x"]

    def value() -> float:
        out = np.asarray(f(given))
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
    claimed: Any = gradient(given)
    if named and (not isinstance(claimed, Mapping) or set(claimed) != set(arrays)):
        raise CheckError(f"expected a gradient with the keys {', '.join(arrays)}")
    claims = {n: np.array(claimed[n] if named else claimed, np.float64) for n in arrays}
    options = options.beside(claims.values())
    rows = [compare(name, value, array, claims[name], options) for name, array in arrays.items()]
    wrong = [row.name for row in rows if row.wrong]
    # Of a chain, what is wrong nearest the loss is where the error enters; before it, all is wrong.
    return GradientReport(rows, options, enters=wrong[-1:])


def _by_hand(loss: Any) -> Any:
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise CheckError(f"loss={loss} is not a choice; {nearest(loss, LOSSES)}")
        return LOSSES[loss]()
    if not hasattr(loss, "derivative"):
        raise CheckError(
            f"expected a loss of gradlab.reference.loss_functions, given a {_kind(loss)}"
        )
    return loss


def _in_torch(loss: Any) -> Any:
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
        raise CheckError(f"expected a loss, a function of (output, target), given a {_kind(loss)}")
    return loss


def _kind(value: Any) -> str:
    return type(value).__name__
