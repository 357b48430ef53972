"""The activations and their derivatives, by hand: elementwise, in the dtype of their argument.

Each form stays accurate for large |z|. The textbook's 1 / (1 + exp(-z)) overflows below z = -709
(float32: -88). s (1 - s) is exactly 0 from z = 37 on (float32: 17), where the derivative is only
small. At a kink, the derivative is the left one, as in torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Activation:
    """An activation a = phi(z), its derivative phi'(z), and when to use it.

    Attributes:
        name: as in `model.activation`.
        f: phi, of an array of any shape.
        derivative: phi', likewise.
        use: when to use it, in one line.
        pitfall: its problem in floating point or in training, in one line.
        kinks: the z at which phi' jumps.
    """

    name: str
    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    use: str
    pitfall: str
    kinks: tuple[float, ...] = ()


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # never above 1
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _sigmoid_derivative(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


def _tanh_derivative(z: Array) -> Array:
    e = np.exp(-2 * np.abs(z))  # 1 / cosh(z)², without the overflow of cosh
    return 4 * e / (1 + e) ** 2


def _normal_cdf(z: Array) -> Array:
    half_erfc = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[np.float64])
    return half_erfc(z).reshape(np.shape(z)).astype(np.asarray(z).dtype)


def _normal_density(z: Array) -> Array:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _exp_below_0(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


LEAKY_SLOPE = 0.01
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

sigmoid = Activation(
    "sigmoid",
    f=_sigmoid,
    derivative=_sigmoid_derivative,
    use="gates, and probabilities at an output; in hidden layers it makes gradients vanish",
    pitfall="phi' <= 1/4; exp(-z) overflows for z < -88 in float32, and log(sigmoid) is -inf there",
)
tanh = Activation(
    "tanh",
    f=np.tanh,
    derivative=_tanh_derivative,
    use="bounded states (recurrent networks); centred, unlike sigmoid, and phi' is 1 at 0",
    pitfall="1 - tanh² is exactly 0 in float32 from |z| = 9.1 on: saturated units get no gradient",
)
relu = Activation(
    "relu",
    f=lambda z: np.maximum(z, 0),
    derivative=lambda z: (z > 0).astype(z.dtype),
    use="the default in deep networks, with Kaiming initialisation",
    pitfall="phi' is 0 for z < 0: a unit with z < 0 for all samples is dead and stays dead",
    kinks=(0.0,),
)
leaky_relu = Activation(
    "leaky_relu",
    f=lambda z: np.where(z > 0, z, LEAKY_SLOPE * z),
    derivative=lambda z: np.where(z > 0, 1, LEAKY_SLOPE).astype(z.dtype),
    use="networks in which ReLU units die",
    pitfall="the slope 0.01 for z < 0 keeps units alive, but shrinks their error signal 100-fold",
    kinks=(0.0,),
)
gelu = Activation(
    "gelu",
    f=lambda z: z * _normal_cdf(z),
    derivative=lambda z: _normal_cdf(z) + z * _normal_density(z),
    use="transformers; smooth, so that higher derivatives exist",
    pitfall="not monotonic: phi' is -0.129 at z = -1.41; the tanh form differs by up to 5e-4",
)
silu = Activation(
    "silu",
    f=lambda z: z * _sigmoid(z),
    derivative=lambda z: _sigmoid(z) + z * _sigmoid_derivative(z),
    use="convolutional and gated networks; similar to GELU, without erf",
    pitfall="not monotonic: phi' is -0.0998 at z = -2.40, which flips the sign of errors",
)
elu = Activation(
    "elu",
    f=lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    derivative=lambda z: np.where(z > 0, 1, _exp_below_0(z)),
    use="networks without normalisation; its mean activations are nearer to 0 than ReLU's",
    pitfall="exp(z) - 1 loses all digits near 0: use expm1(z)",
)
selu = Activation(
    "selu",
    f=lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    derivative=lambda z: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * _exp_below_0(z)),
    use="deep plain networks with lecun_normal: mean 0 and variance 1 are a stable fixed point",
    pitfall="the fixed point requires lecun_normal; phi' jumps from 1.76 to 1.05 at 0",
    kinks=(0.0,),
)
softplus = Activation(
    "softplus",
    f=lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    derivative=_sigmoid,
    use="a positive output, such as a variance",
    pitfall="log(1 + exp(z)) overflows for z > 88 in float32; torch returns z for z > 20, 2e-9 off",
)
identity = Activation(
    "identity",
    f=lambda z: z,
    derivative=np.ones_like,
    use="the output of a regression; in hidden layers, to study depth without an activation",
    pitfall="its networks are one linear map, but their gradients vanish and explode like others",
)

ACTIVATIONS = {a.name: a for a in list(vars().values()) if isinstance(a, Activation)}
"""Every activation above, by name."""
