"""Networks whose units are off, at the ends of their range, or copies of each other.

Where a whole layer is dead, nothing at all arrives below it: that is called dead, by its cause.
"""

from functools import partial

from diagnosis.networks.network import network

_dead = partial(network, "dead")
_saturated = partial(network, "saturated")
_symmetric = partial(network, "symmetric")
OWN = "model.init=diagnosis.inits."

DEAD = [
    _dead(
        "dead_layer",
        "severe",
        f"seed=201 model.depth=4 {OWN}dead_layer",
        "one layer's biases are -100: all its units are off, whatever the sample",
    ),
    _dead(
        "dead_first",
        "severe",
        f"seed=202 model.depth=3 {OWN}dead_first optim=adam",
        "the first layer's biases are -100",
    ),
    _dead(
        "dead_regression",
        "severe",
        f"seed=203 model.depth=3 {OWN}dead_layer data=diabetes loss=mse optim.lr=0.01",
        "one layer's biases are -100",
    ),
    _dead(
        "nearly_dead_layer",
        "mild",
        f"seed=204 model.depth=4 {OWN}nearly_dead_layer",
        "61 of a layer's 64 units have a bias of -100",
    ),
    _dead(
        "nearly_dead",
        "mild",
        f"seed=205 model.depth=3 {OWN}nearly_dead optim.lr=0.01",
        "61 of 64 units of every layer have a bias of -100",
    ),
    _dead(
        "nearly_dead_delivery",
        "mild",
        f"seed=206 model.depth=2 {OWN}nearly_dead data=delivery loss=huber optim.lr=0.02",
        "61 of 64 units of every layer have a bias of -100",
    ),
    _dead(
        "dead_layer_norm_after",
        "severe",
        f"seed=209 model.depth=4 model.norm=layer model.norm_position=after {OWN}dead_layer",
        "one layer's biases are -100",
    ),
]

SATURATED = [
    _saturated(
        "tanh_wide",
        "mild",
        "seed=221 model.depth=3 model.activation=tanh model.init=normal model.init_gain=2"
        " optim.lr=0.001",
        "z has standard deviation 16 and phi' is below 5% from |z| = 2.2 on: 89% of entries",
    ),
    _saturated(
        "tanh_wider",
        "severe",
        "seed=222 model.depth=2 model.activation=tanh model.init=normal model.init_gain=10"
        " optim.lr=0.0001",
        "z has standard deviation 80: 97.8% of entries beyond 2.2",
    ),
    _saturated(
        "tanh_lsuv",
        "mild",
        "seed=223 model.depth=3 model.activation=tanh model.init=lsuv model.init_gain=12"
        " optim.lr=0.001",
        "z has standard deviation 12 by construction: 86% of entries beyond 2.2",
    ),
    _saturated(
        "sigmoid_wide",
        "mild",
        "seed=224 model.depth=2 model.activation=sigmoid model.init=lsuv model.init_gain=30"
        " optim.lr=0.001",
        "z has standard deviation 30 and phi' is below 5% from |z| = 4.4 on: 88% of entries",
    ),
    _saturated(
        "one_layer",
        "mild",
        f"seed=225 model.depth=4 model.activation=tanh {OWN}saturated_layer optim.lr=0.002",
        "one layer's weights are 25 times those that keep z near 1",
    ),
    _saturated(
        "tanh_biased",
        "mild",
        f"seed=226 model.depth=1 model.activation=tanh {OWN}leaning_biases optim.lr=0.01",
        "biases of 4 and -4, and z - b of standard deviation 1: 97% of entries beyond 2.2",
    ),
    _saturated(
        "tanh_regression_wide",
        "mild",
        "seed=227 model.depth=2 model.activation=tanh model.init=normal model.init_gain=4"
        " data=diabetes loss=mse optim.lr=1e-6",
        "z has standard deviation 13 and more: 87% of entries beyond 2.2",
    ),
    _saturated(
        "elu_below",
        "mild",
        f"seed=228 model.depth=1 model.activation=elu {OWN}below optim.lr=0.01",
        "biases of -4: phi' = exp(z) is below 5% where z < -3: 84% of entries",
    ),
]

SYMMETRIC = [
    _symmetric(
        "constant",
        "severe",
        f"seed=241 model.depth=3 {OWN}constant",
        "all weights of a layer are equal, so that all its units have the same gradient for ever",
    ),
    _symmetric(
        "constant_tanh",
        "severe",
        f"seed=242 model.depth=2 model.activation=tanh {OWN}constant optim=adam",
        "all weights of a layer are equal",
    ),
    _symmetric(
        "constant_sigmoid",
        "severe",
        f"seed=243 model.depth=1 model.activation=sigmoid {OWN}constant optim.lr=0.5",
        "all weights of a layer are equal",
    ),
    _symmetric(
        "clones",
        "severe",
        f"seed=244 model.depth=2 model.activation=gelu {OWN}clones",
        "random weights, but the same for every unit of a layer",
    ),
    _symmetric(
        "clones_regression",
        "severe",
        f"seed=245 model.depth=1 {OWN}clones data=diabetes loss=mse optim.lr=0.01",
        "random weights, but the same for every unit of a layer",
    ),
    _symmetric(
        "clones_adam",
        "severe",
        f"seed=246 model.depth=3 model.activation=silu {OWN}clones optim=adam optim.lr=0.0001",
        "random weights, but the same for every unit of a layer",
    ),
    _symmetric(
        "zeros_sigmoid",
        "severe",
        "seed=247 model.depth=1 model.activation=sigmoid model.init=zeros optim.lr=1",
        "all weights are 0; sigmoid(0) = 0.5 lets them grow, all alike",
    ),
]
