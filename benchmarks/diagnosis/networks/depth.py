"""Networks whose error signal fades or swells from layer to layer, by theory or by construction.

The decades are log10 ‖dLoss/dz_1‖ / ‖dLoss/dz_L‖: mild is 4 to 6, severe is more.
"""

from functools import partial

from diagnosis.networks.network import network

_vanishing = partial(network, "vanishing")
_exploding = partial(network, "exploding")
SLOW = " clip=norm optim.lr=0.001"  # steps of length 0.001: training does not change the state

VANISHING = [
    _vanishing(
        "sigmoid_ten",
        "severe",
        "seed=101 model.depth=10 model.activation=sigmoid",
        "-8.5 decades by theory (gradlab predict)",
    ),
    _vanishing(
        "sigmoid_six",
        "mild",
        "seed=102 model.depth=6 model.activation=sigmoid",
        "-5.2 decades by theory",
    ),
    _vanishing(
        "sigmoid_he",
        "mild",
        "seed=103 model.depth=10 model.activation=sigmoid model.init=kaiming_normal optim.lr=0.01",
        "-5.1 decades by theory",
    ),
    _vanishing("relu_default", "severe", "seed=104 model.depth=20", "-8.2 decades by theory"),
    _vanishing("relu_eleven", "mild", "seed=105 model.depth=11", "-4.7 decades by theory"),
    _vanishing(
        "linear_shrunk",
        "mild",
        "seed=106 model.depth=10 model.activation=identity model.init=orthogonal"
        " model.init_gain=0.3 data=delivery loss=mse",
        "exact: every map of an orthogonal network shrinks all norms by 0.3, so 0.3^10",
    ),
    _vanishing(
        "tanh_ordered",
        "severe",
        "seed=107 model.depth=20 model.activation=tanh model.init=xavier_normal"
        " model.init_gain=0.4",
        "ordered phase: 0.4 a layer",
    ),
    _vanishing(
        "leaky_xavier",
        "severe",
        "seed=108 model.depth=46 model.activation=leaky_relu model.init=xavier_normal"
        " optim.lr=0.001",
        "half of He's variance: 0.15 decades a layer",
    ),
    _vanishing(
        "gelu_default",
        "severe",
        "seed=109 model.depth=20 model.activation=gelu",
        "gelu is z/2 near 0, and the default weights shrink by 0.58: 0.54 decades a layer",
    ),
    _vanishing(
        "sigmoid_loss_large",
        "severe",
        "seed=110 model.depth=10 model.activation=sigmoid loss.scale=1e6 optim.lr=1e-7",
        "scale and rate cancel: sigmoid_ten again",
    ),
    _vanishing(
        "sigmoid_adam",
        "severe",
        "seed=111 model.depth=10 model.activation=sigmoid optim=adam optim.lr=0.0001",
        "Adam rescales the update, not the signal: -8.5 decades by theory",
    ),
    _vanishing(
        "relu_clipped",
        "severe",
        "seed=112 model.depth=24 clip=norm clip.max_norm=0.1 optim.lr=0.5",
        "clipping cannot make a ratio larger",
    ),
    _vanishing(
        "sigmoid_rms_norm",
        "mild",
        "seed=114 model.depth=10 model.activation=sigmoid model.norm=rms model.init=lecun_normal",
        "a layer takes 0.21 by phi' and gives 1 / 0.54 by the norm: 0.4 decades",
    ),
    _vanishing(
        "tanh_regression",
        "mild",
        "seed=115 model.depth=18 model.activation=tanh data=diabetes loss=mse",
        "the default weights shrink by 0.58 a layer: 0.24 decades",
    ),
]

EXPLODING = [
    _exploding(
        "linear_normal",
        "severe",
        "seed=131 model.depth=10 model.activation=identity model.init=normal" + SLOW,
        "64 weights of variance 1: 8 a layer",
    ),
    _exploding(
        "relu_normal",
        "severe",
        "seed=132 model.depth=10 model.init=normal" + SLOW,
        "sqrt(32) a layer",
    ),
    _exploding(
        "linear_stretched",
        "mild",
        "seed=133 model.depth=10 model.activation=identity model.init=orthogonal"
        " model.init_gain=3 data=delivery loss=mse" + SLOW,
        "exact: every map of an orthogonal network stretches all norms by 3, so 3^10",
    ),
    _exploding(
        "relu_stretched",
        "mild",
        "seed=134 model.depth=20 model.init=kaiming_normal model.init_gain=2.6" + SLOW,
        "2.6 / sqrt 2 a layer: +5.3 decades",
    ),
    _exploding(
        "residual_whole",
        "mild",
        "seed=135 model=resmlp model.depth=24 model.init=kaiming_normal" + SLOW,
        "a block at least doubles the signal's mean square (Yang & Schoenholz 2017)",
    ),
    _exploding(
        "batch_norm_deep",
        "mild",
        "seed=136 model.depth=60 model.norm=batch model.init=kaiming_normal"
        " train.batch_size=512 train.steps=40" + SLOW,
        "1.21 a layer (Yang et al. 2019): 0.083 decades",
    ),
    _exploding(
        "batch_norm_deeper",
        "severe",
        "seed=137 model.depth=85 model.norm=batch model.init=kaiming_normal"
        " train.batch_size=512 train.steps=40" + SLOW,
        "1.21 a layer (Yang et al. 2019): 0.083 decades",
    ),
    _exploding(
        "loss_small_explodes",
        "severe",
        "seed=138 model.depth=10 model.activation=leaky_relu model.init=normal loss.scale=1e-9"
        " clip=norm clip.max_norm=1e-9 optim.lr=1e6",
        "sqrt(32) a layer; a factor on the loss changes no ratio",
    ),
    _exploding(
        "selu_stretched",
        "mild",
        "seed=139 model.depth=12 model.activation=selu model.init=lecun_normal model.init_gain=3"
        + SLOW,
        "half of phi' is 1.05, the rest near 0: 0.74 x 3 a layer",
    ),
    _exploding(
        "gelu_stretched",
        "mild",
        "seed=140 model.depth=12 model.activation=gelu model.init=kaiming_normal"
        " model.init_gain=3.5" + SLOW,
        "phi' is 0 or 1 for so wide a z: 0.71 x 3.5 a layer",
    ),
]
