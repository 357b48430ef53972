"""The losses and their derivatives with respect to the network's output, by hand.

Outputs have the shape [B, n]. Targets are class indices [B] (integers) or numbers [B, n]. A loss is
a mean over the samples; losses with a separate term for each output are a mean over outputs too.
So dLoss/doutput [B, n] contains the factor 1/B or 1/(B n).

No function here overflows for logits of ±1e4, in float32 or float64. The naive forms do:

- sigmoid(z) rounds to exactly 1 from z = 37 on (float32: 17). Then log(1 - sigmoid(z)) is -inf,
  although the loss is only z.
- exp(z) in softmax overflows from z = 709 on (float32: 89).

So the functions compute logarithms of probabilities directly. log sigmoid(z) = min(z, 0) -
log1p(exp(-|z|)). Log softmax subtracts the log of a sum of exponentials whose largest exponent is
0.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from gradlab.reference.activation_functions import Array, sigmoid


class Loss(Protocol):
    """A loss: its value, a mean over the batch, and dLoss/doutput.

    Attributes:
        takes: the kind of outputs: "numbers", "logits" (separate ones) or the logits of "classes".
        use: when to use it, in a line.
        pitfall: its most common mistake, in a line.
    """

    takes: ClassVar[str]
    use: ClassVar[str]
    pitfall: ClassVar[str]

    def value(self, output: Array, target: Array) -> float:
        """Return the loss of outputs [B, n]."""
        ...

    def derivative(self, output: Array, target: Array) -> Array:
        """Return dLoss/doutput, [B, n]."""
        ...


@dataclass(frozen=True)
class MSE:
    """Mean over samples and outputs of (a - y)²."""

    takes: ClassVar[str] = "numbers"
    use: ClassVar[str] = "regression with noise of constant variance"
    pitfall: ClassVar[str] = (
        "targets [B] against outputs [B, 1] broadcast to [B, B]: a wrong loss, and no error"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return the mean of the squared errors."""
        return float(((output - rows(target, output)) ** 2).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return 2 (a - y) / (B n)."""
        return 2 * (output - rows(target, output)) / output.size


@dataclass(frozen=True)
class Huber:
    """Mean over samples and outputs of e²/2 where |e| <= delta, else delta (|e| - delta/2).

    e = a - y (Huber 1964).
    """

    delta: float = 1.0
    takes: ClassVar[str] = "numbers"
    use: ClassVar[str] = "regression with outliers: the derivative never exceeds delta"
    pitfall = (
        "delta has the targets' unit: too large, it clips nothing; too small, it clips every error"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return the mean of e²/2 (small errors) or delta (|e| - delta/2) (large errors)."""
        e = np.abs(output - rows(target, output))
        near = np.minimum(e, self.delta)  # only small errors are squared
        return float((near**2 / 2 + self.delta * (e - near)).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return clip(a - y, -delta, delta) / (B n)."""
        e = output - rows(target, output)
        return np.clip(e, -self.delta, self.delta) / output.size


@dataclass(frozen=True)
class BCE:
    """Mean over samples and outputs of -y log s(z) - (1 - y) log s(-z), s the sigmoid."""

    takes: ClassVar[str] = "logits"
    use: ClassVar[str] = "binary classification, or several labels per sample; one logit per label"
    pitfall: ClassVar[str] = (
        "do not compute log(sigmoid(z)): at z = 40 the probability is 1 and the loss 0 or inf"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return max(z, 0) - y z + log(1 + exp(-|z|)), averaged."""
        z, y = output, rows(target, output)
        return float((np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return (s(z) - y) / (B n): the derivative of the sigmoid cancels.

        The form (1 - y) s(z) - y s(-z) is small and not 0 where s(z) rounds to y.
        """
        z, y = output, rows(target, output)
        return ((1 - y) * sigmoid.f(z) - y * sigmoid.f(-z)) / z.size


@dataclass(frozen=True)
class CrossEntropy:
    """Mean over samples of -log softmax(z)[y]; for target probabilities, of -Σ y log softmax(z)."""

    takes: ClassVar[str] = "classes"
    use: ClassVar[str] = "one class out of n; n logits"
    pitfall: ClassVar[str] = (
        "takes logits: a softmax before it is a second softmax, which shrinks the gradient"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return the mean of log Σ exp(z) - z[y]."""
        y = rows(target, output)
        return float(-(y * log_softmax(output)).sum(axis=1).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return (p Σ y - y) / B, p = softmax(z).

        The form p_k Σ_{j≠k} y_j - y_k Σ_{j≠k} p_j is small and not 0 where p_k rounds to y_k.
        """
        y, p = rows(target, output), np.exp(log_softmax(output))
        others = 1 - np.eye(output.shape[1], dtype=output.dtype)
        return (p * (y @ others) - y * (p @ others)) / len(output)


@dataclass(frozen=True)
class Focal:
    """Mean over samples of -(1 - p)^gamma log p, p = softmax(z)[y] (Lin et al. 2017, eq. 4).

    Each target is one class. With gamma = 0 it is the cross-entropy. 1 - p is computed as exp(v),
    with v = log Σ_{k≠y} exp(z_k) - log Σ exp(z_k): this form keeps its precision where p rounds to
    1. The derivative never divides by 1 - p.
    """

    gamma: float = 2.0
    takes: ClassVar[str] = "classes"
    use: ClassVar[str] = (
        "classes of very different frequency: samples that are already right hardly count"
    )
    pitfall: ClassVar[str] = (
        "(1 - p)^(gamma - 1) in the chain rule is infinite at p = 1 for gamma < 1"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return the mean of -exp(gamma v) log p."""
        log_p, v, _, _ = self._parts(output, target)
        return float(-(np.exp(self.gamma * v) * log_p).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return g / B at the true class and -g q_k / B at the others, q = softmax over the others.

        g = (1 - p)^gamma (gamma p log p - (1 - p)).
        """
        log_p, v, q, y = self._parts(output, target)
        g = np.exp(self.gamma * v) * (self.gamma * np.exp(log_p) * log_p - np.exp(v))
        return g * (y - q) / len(output)

    def _parts(self, output: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """Return log p [B, 1], log(1 - p) [B, 1], q [B, n] (0 at the true class), y [B, n]."""
        y = rows(target, output)
        log_p = (y * log_softmax(output)).sum(axis=1, keepdims=True)
        others = np.where(y > 0, -np.inf, output)
        v = _log_sum_exp(others) - _log_sum_exp(output)
        return log_p, v, np.exp(others - _log_sum_exp(others)), y


@dataclass(frozen=True)
class BinaryFocal:
    """Mean over samples and outputs of -w (1 - p)^gamma log p on logits (Lin et al. 2017, eq. 5).

    Where y = 1, p = s(z) and w = alpha. Where y = 0, p = s(-z) and w = 1 - alpha.
    """

    gamma: float = 2.0
    alpha: float = 0.25
    takes: ClassVar[str] = "logits"
    use: ClassVar[str] = "rare positives among many easy negatives, as in detection"
    pitfall: ClassVar[str] = (
        "alpha = 0.25 reduces the weight of the rare class: it was tuned together with gamma = 2"
    )

    def value(self, output: Array, target: Array) -> float:
        """Return the mean of the loss, weighted by y and 1 - y."""
        y = rows(target, output)
        yes, no = self._loss_of_ones(output), self._loss_of_ones(-output)
        return float((self.alpha * y * yes + (1 - self.alpha) * (1 - y) * no).mean())

    def derivative(self, output: Array, target: Array) -> Array:
        """Return the derivative of the mean, with the factor 1/(B n)."""
        y = rows(target, output)
        yes, no = self._slope_of_ones(output), -self._slope_of_ones(-output)
        return (self.alpha * y * yes + (1 - self.alpha) * (1 - y) * no) / output.size

    def _loss_of_ones(self, z: Array) -> Array:
        """Return -(1 - p)^gamma log p, p = s(z)."""
        return -np.exp(self.gamma * log_sigmoid(-z)) * log_sigmoid(z)

    def _slope_of_ones(self, z: Array) -> Array:
        """Return the derivative (1 - p)^gamma (gamma p log p - (1 - p)), p = s(z)."""
        p, rest = sigmoid.f(z), sigmoid.f(-z)
        return np.exp(self.gamma * log_sigmoid(-z)) * (self.gamma * p * log_sigmoid(z) - rest)


@dataclass(frozen=True)
class Scaled:
    """A loss times a number."""

    takes: ClassVar[str] = "the outputs that the loss takes"
    use: ClassVar[str] = "to study the effect of a factor on the loss"
    pitfall: ClassVar[str] = "a small factor underflows in half precision"
    loss: Loss
    scale: float

    def value(self, output: Array, target: Array) -> float:
        """Return the scaled loss."""
        return self.scale * self.loss.value(output, target)

    def derivative(self, output: Array, target: Array) -> Array:
        """Return the scaled derivative."""
        return self.scale * self.loss.derivative(output, target)


LOSSES: dict[str, Any] = {
    "mse": MSE,
    "huber": Huber,
    "bce": BCE,
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "binary_focal": BinaryFocal,
}
"""The losses by name, as in `loss=`."""


def rows(target: Array, output: Array) -> Array:
    """Return targets as numbers [B, n]: class indices become one-hot rows."""
    if target.ndim == 1 and np.issubdtype(target.dtype, np.integer):
        return np.eye(output.shape[1], dtype=output.dtype)[target]
    return target


def log_softmax(z: Array) -> Array:
    """Return z - log Σ exp(z), over the last axis.

    The largest logit is taken out of the sum: log(1 + rest) keeps its precision where the largest
    probability rounds to 1.
    """
    largest = z.argmax(axis=-1)[..., None]
    shifted = z - np.take_along_axis(z, largest, axis=-1)
    rest = np.exp(shifted)
    np.put_along_axis(rest, largest, 0.0, axis=-1)
    return shifted - np.log1p(rest.sum(axis=-1, keepdims=True))


def log_sigmoid(z: Array) -> Array:
    """Return log(1 / (1 + exp(-z))): -10000 at z = -10000, where log(sigmoid(z)) is -inf."""
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def _log_sum_exp(z: Array) -> Array:
    largest = z.max(axis=-1, keepdims=True)
    return largest + np.log(np.exp(z - largest).sum(axis=-1, keepdims=True))
