"""Networks whose signal is sound, and whose steps are too long, too short, or unequal."""

from functools import partial

from diagnosis.networks.network import network

_unstable = partial(network, "unstable")
_starved = partial(network, "starved")
_below = partial(network, "below_eps")
OWN = "model.init=diagnosis.inits."
LINEAR = "model.depth=0 data=diabetes loss=mse train.batch_size=353"
PARABOLA = "lambda_max is that of X^T X / N, and the error grows by |1 - lr lambda_max| a step: "

UNSTABLE = [
    _unstable(
        "parabola_2.2",
        "mild",
        f"seed=401 {LINEAR} optim.lr=0.26542",
        PARABOLA + "lr = 2.2 / lambda_max, 1.2 a step",
    ),
    _unstable(
        "parabola_2.5",
        "severe",
        f"seed=402 {LINEAR} optim.lr=0.30162",
        PARABOLA + "lr = 2.5 / lambda_max, 1.5 a step",
    ),
    _unstable(
        "parabola_2.1",
        "mild",
        f"seed=403 {LINEAR} optim.lr=0.25336 train.steps=100",
        PARABOLA + "lr = 2.1 / lambda_max, 1.1 a step",
    ),
    _unstable(
        "parabola_delivery",
        "mild",
        "seed=404 model.depth=0 data=delivery loss=mse train.batch_size=1600 optim.lr=1.05596",
        PARABOLA + "lr = 2.3 / lambda_max, 1.3 a step",
    ),
    _unstable(
        "parabola_momentum",
        "mild",
        f"seed=405 {LINEAR} optim.lr=0.50672 optim.momentum=0.9",
        "lr = 4.2 / lambda_max, and with momentum 0.9 the limit is 3.8 (Polyak 1964)",
    ),
    _unstable(
        "huber_bounces",
        "mild",
        "seed=406 model.depth=0 data=diabetes loss=huber train.batch_size=353 optim.lr=20",
        "80 times lambda_max's 1 / lr, where errors are below 1; beyond it the gradient is bounded",
    ),
    _unstable(
        "softmax_bounces",
        "mild",
        "seed=407 model.depth=0 model.init=zeros optim.lr=300 train.steps=60",
        "lambda_max = 0.74 at the start: lr is 110 times 2 / lambda_max",
    ),
    _unstable(
        "digits_parabola",
        "mild",
        "seed=408 model.depth=0 loss=mse train.batch_size=1437 optim.lr=1.48",
        PARABOLA + "lr = 2.2 / lambda_max, 1.2 a step",
    ),
]

STARVED = [
    _starved(
        "layer_norm_middle",
        "severe",
        f"seed=421 model.depth=5 model.norm=layer {OWN}heavy_middle",
        "weights 60 times as large before a norm: the same function, and 60^2 = 3600 times slower",
    ),
    _starved(
        "rms_norm_middle",
        "severe",
        f"seed=422 model.depth=6 model.norm=rms {OWN}heavy_middle",
        "60^2 slower: the gradient falls by 60, and the weights are 60 times as large",
    ),
    _starved(
        "batch_norm_first",
        "severe",
        f"seed=423 model.depth=3 model.norm=batch {OWN}heavy_first train.batch_size=128",
        "40^2 slower (van Laarhoven 2017)",
    ),
    _starved(
        "layer_norm_last",
        "severe",
        f"seed=424 model.depth=4 model.norm=layer model.activation=gelu {OWN}heavy_last",
        "60^2 slower",
    ),
    _starved(
        "rms_norm_first_regression",
        "severe",
        f"seed=425 model.depth=3 model.norm=rms {OWN}heavy_first data=delivery loss=mse"
        " optim.lr=0.01",
        "40^2 slower",
    ),
    _starved(
        "batch_norm_middle",
        "severe",
        f"seed=426 model.depth=5 model.norm=batch model.activation=tanh {OWN}heavy_middle",
        "60^2 slower",
    ),
    _starved(
        "seesaw",
        "severe",
        f"seed=427 model.depth=5 {OWN}seesaw optim.lr=0.0001",
        "the same function by ReLU's homogeneity; the third layer learns 50^2 slower",
    ),
]

BELOW_EPS = [
    _below(
        "adam_scaled",
        "severe",
        "seed=441 model.depth=3 model.init=kaiming_normal optim=adam loss.scale=1e-9",
        "entries of the gradient are near 1e-11, and eps is 1e-8",
    ),
    _below(
        "adam_scaled_more",
        "severe",
        "seed=442 model.depth=3 model.activation=tanh model.init=xavier_normal optim=adam"
        " loss.scale=1e-12",
        "entries of the gradient are near 1e-14, and eps is 1e-8",
    ),
    _below(
        "adamw_scaled",
        "severe",
        "seed=443 model.depth=4 model.init=kaiming_normal optim=adamw loss.scale=1e-10",
        "entries of the gradient are near 1e-12, and eps is 1e-8",
    ),
    _below(
        "rmsprop_scaled",
        "severe",
        "seed=444 model.depth=3 model.init=kaiming_normal optim=rmsprop loss.scale=1e-10",
        "entries of the gradient are near 1e-12, and eps is 1e-8",
    ),
    _below(
        "adam_large_eps",
        "severe",
        "seed=445 model.depth=3 model.init=kaiming_normal optim=adam optim.eps=10",
        "entries of the gradient are near 1e-2, and eps is 10",
    ),
    _below(
        "adam_regression",
        "severe",
        "seed=446 model.depth=2 model.activation=tanh model.init=orthogonal optim=adam"
        " data=diabetes loss=mse loss.scale=1e-10",
        "entries of the gradient are near 1e-12, and eps is 1e-8",
    ),
    _below(
        "adam_mild",
        "mild",
        "seed=447 model.depth=3 model.init=kaiming_normal optim=adam loss.scale=1e-8",
        "entries of the gradient are near 1e-10, and eps is 1e-8",
    ),
]
