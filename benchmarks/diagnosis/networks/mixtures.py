"""Networks with two faults, one the cause of the other; either label is right."""

from functools import partial

from diagnosis.networks.network import network

OWN = "model.init=diagnosis.inits."
SLOW = " clip=norm optim.lr=0.001"
_saturated_vanishing = partial(network, "saturated+vanishing")
_zeros = partial(network, "symmetric+vanishing")

MIXTURES = [
    _saturated_vanishing(
        "tanh_biased_deep",
        "severe",
        f"seed=501 model.depth=6 model.activation=tanh {OWN}saturating_biases optim.lr=0.01",
        "biases of 6 and -6: phi' is below 1e-3 for most entries, six times",
    ),
    _saturated_vanishing(
        "sigmoid_below",
        "severe",
        f"seed=502 model.depth=2 model.activation=sigmoid {OWN}far_below optim.lr=0.01",
        "biases of -8: phi' = 3e-4, twice",
    ),
    _saturated_vanishing(
        "elu_below_deep",
        "severe",
        f"seed=503 model.depth=3 model.activation=elu {OWN}far_below optim.lr=0.01",
        "biases of -8: phi' = exp(z) is below 1%, three times",
    ),
    network(
        "saturated+exploding",
        "tanh_chaos",
        "mild",
        "seed=504 model.depth=11 model.activation=tanh model.init=normal model.init_gain=2" + SLOW,
        "chaotic phase: phi' loses less than the weights add",
    ),
    network(
        "symmetric+vanishing+dead",
        "zeros_relu",
        "severe",
        "seed=505 model.depth=3 model.init=zeros",
        "all weights are 0: dLoss/dz is 0 below the output, all units are alike, and relu'(0) = 0",
    ),
    _zeros(
        "zeros_tanh_adam",
        "severe",
        "seed=506 model.depth=4 model.activation=tanh model.init=zeros optim=adam",
        "all weights are 0: dLoss/dz is exactly 0 below the output, and every unit is the same",
    ),
    network(
        "dead+unstable",
        "killed",
        "severe",
        "seed=207 model.depth=2 model.init=kaiming_normal optim.lr=3",
        "a rate of 3 throws the weights about until no sample lifts any unit above its threshold",
    ),
    network(
        "dead+unstable",
        "killed_delivery",
        "severe",
        "seed=511 model.depth=2 model.init=kaiming_normal data=delivery loss=huber optim.lr=6",
        "a rate of 6 throws the weights about until no sample lifts any unit above its threshold",
    ),
    network(
        "vanishing+underflow",
        "sigmoid_deep_float16",
        "severe",
        "seed=507 model.depth=20 model.activation=sigmoid train.dtype=float16",
        "0.8 decades a layer: from the tenth on, below float16's smallest number",
    ),
    network(
        "exploding+overflow",
        "explodes_to_infinity",
        "severe",
        "seed=508 model.depth=30 model.activation=identity model.init=normal loss=mse",
        "8 a layer, and a squared error: beyond float32 within a few steps",
    ),
    network(
        "vanishing+below_eps",
        "sigmoid_adam_deep",
        "severe",
        "seed=509 model.depth=16 model.activation=sigmoid optim=adam",
        "-13 decades by theory: the first layers' gradients are far below eps = 1e-8",
    ),
]
