"""Networks whose numbers are too small or too large for their dtype."""

from functools import partial

from diagnosis.networks.network import Network, network

_underflow = partial(network, "underflow")
TANH = "model.activation=tanh model.init=xavier_normal"


def _overflow(name: str, changes: str, why: str) -> Network:
    return network("overflow", name, "severe", changes, why)


UNDERFLOW = [
    _underflow(
        "scale_float32",
        "severe",
        "seed=301 model.depth=2 loss.scale=1e-60",
        "1e-60 is 0 in float32, whose smallest number is 1.4e-45",
    ),
    _underflow(
        "scale_float16",
        "severe",
        f"seed=302 model.depth=3 {TANH} loss.scale=1e-9 train.dtype=float16",
        "entries below 1e-9, and float16's smallest number is 6e-8",
    ),
    _underflow(
        "scale_bfloat16",
        "severe",
        f"seed=303 model.depth=3 {TANH} loss.scale=1e-42 train.dtype=bfloat16",
        "entries below 1e-42, and bfloat16's smallest number is 9e-41",
    ),
    _underflow(
        "scale_regression",
        "severe",
        f"seed=304 model.depth=2 {TANH} loss.scale=1e-50 data=diabetes loss=mse",
        "1e-50 is 0 in float32",
    ),
    _underflow(
        "edge_float16",
        "mild",
        f"seed=305 model.depth=3 {TANH} loss.scale=3e-6 train.dtype=float16",
        "entries of dLoss/dz are at most 3e-6 / 64 = 4.7e-8, below float16's 6e-8: most round to 0",
    ),
    _underflow(
        "edge_float32",
        "mild",
        f"seed=306 model.depth=3 {TANH} loss.scale=1e-43",
        "entries of dLoss/dz are at most 1e-43 / 64 = 1.6e-45, a step of float32: most round to 0",
    ),
    _underflow(
        "hidden_float16",
        "mild",
        f"seed=307 model.depth=3 {TANH} model.width=256 loss.scale=8e-6 train.dtype=float16"
        " optim.lr=100",
        "dLoss/dz is about 0.1 x 8e-6 / 64 = 1e-8 an entry, and float16's step is 6e-8",
    ),
    _underflow(
        "adam_float16",
        "severe",
        f"seed=308 model.depth=2 {TANH} loss.scale=1e-8 train.dtype=float16 optim=adam"
        " optim.eps=0.0001",
        "entries below 1e-9, and float16's smallest number is 6e-8",
    ),
]

OVERFLOW = [
    _overflow(
        "forward_float16",
        "seed=321 model.depth=10 model.init=normal train.dtype=float16",
        "sqrt(32) a layer: 5.7^10 = 3e7, and float16 ends at 65504",
    ),
    _overflow(
        "forward_float32",
        "seed=322 model.depth=48 model.activation=identity model.init=normal",
        "8 a layer: 8^48 = 2e43, and float32 ends at 3.4e38",
    ),
    _overflow(
        "loss_float16",
        "seed=323 model.depth=2 model.init=kaiming_normal train.dtype=float16 loss.scale=1e5",
        "2.3e5 is infinite in float16",
    ),
    _overflow(
        "huge_rate",
        "seed=324 model.depth=3 model.activation=identity model.init=lecun_normal optim.lr=1e12",
        "weights of 1e11 and three maps: 1e44 at the second step",
    ),
    _overflow(
        "mse_diverges",
        "seed=325 model.depth=5 model.init=kaiming_normal loss=mse optim.lr=10000",
        "the squared error's gradient grows with the error: each step is thousands too long",
    ),
    _overflow(
        "linear_diverges",
        "seed=326 model.depth=0 data=diabetes loss=mse train.batch_size=353 optim.lr=12",
        "lr = 100 / lambda_max: the error grows 99 times a step, and 99^20 = 8e39",
    ),
    _overflow(
        "gradient_float16",
        "seed=327 model.depth=4 model.activation=gelu model.init=kaiming_normal train.dtype=float16"
        " loss.scale=20000",
        "weight gradients are sums of 1e5 and more, and float16 ends at 65504",
    ),
    _overflow(
        "scale_float32_high",
        "seed=328 model.depth=3 model.init=kaiming_normal loss.scale=3e38",
        "2.3 x 3e38 is infinite in float32",
    ),
]
