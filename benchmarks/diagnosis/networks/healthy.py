"""Networks with nothing wrong: the signal keeps within a factor of 100, and the loss falls."""

from diagnosis.networks.network import Network, network

EDGE = "He's variance keeps the signal in ReLU: E phi'^2 n Var W = 1"
SHALLOW = "so few layers cannot lose two decades (gradlab predict)"
CONVEX = "a linear model with a convex loss: "
CHAOS = "tanh at the edge of chaos: sigma_w = 1, sigma_b = 0"


def _healthy(name: str, changes: str, why: str) -> Network:
    return network("healthy", name, "none", changes, why)


HEALTHY = [
    _healthy("shallow", "seed=1 model.depth=2", SHALLOW),
    _healthy("he", "seed=2 model.depth=3 model.init=kaiming_normal", EDGE),
    _healthy("he_deep", "seed=3 model.depth=30 model.init=kaiming_normal optim.lr=0.03", EDGE),
    _healthy(
        "he_deeper",
        "seed=4 model.depth=50 model.width=128 model.init=kaiming_uniform optim.lr=0.003"
        " train.steps=100",
        EDGE,
    ),
    _healthy(
        "tanh_deep", "seed=5 model.depth=20 model.activation=tanh model.init=xavier_normal", CHAOS
    ),
    _healthy(
        "tanh_orthogonal",
        "seed=6 model.depth=10 model.activation=tanh model.init=orthogonal",
        CHAOS,
    ),
    _healthy(
        "gelu",
        "seed=7 model.depth=10 model.activation=gelu model.init=kaiming_normal optim.lr=0.05",
        "0.5 decades by theory (gradlab predict)",
    ),
    _healthy(
        "selu",
        "seed=8 model.depth=16 model.activation=selu model.init=lecun_normal optim.lr=0.01",
        "selu's fixed point (Klambauer et al. 2017)",
    ),
    _healthy(
        "sigmoid",
        "seed=9 model.depth=1 model.activation=sigmoid model.init=xavier_normal optim.lr=0.5",
        SHALLOW,
    ),
    _healthy(
        "leaky",
        "seed=10 model.depth=20 model.activation=leaky_relu model.init=kaiming_normal"
        " optim.lr=0.03",
        EDGE,
    ),
    _healthy(
        "silu", "seed=11 model.depth=4 model.activation=silu model.init=kaiming_normal", SHALLOW
    ),
    _healthy("elu", "seed=12 model.depth=6 model.activation=elu model.init=lecun_uniform", SHALLOW),
    _healthy(
        "softplus",
        "seed=13 model.depth=2 model.activation=softplus model.init=lecun_normal optim.lr=0.02",
        SHALLOW,
    ),
    _healthy(
        "residual",
        "seed=14 model=resmlp model.depth=20 model.branch_scale=0.1 model.init=kaiming_normal"
        " optim.lr=0.05",
        "a block changes the signal by 0.5 s^2 n Var W = 1%",
    ),
    _healthy(
        "residual_deep",
        "seed=15 model=resmlp model.depth=60 model.branch_scale=0.05 model.activation=tanh"
        " model.init=xavier_normal optim.lr=0.05",
        "a block changes the signal by s^2 = 0.25%",
    ),
    _healthy(
        "layer_norm",
        "seed=16 model.depth=10 model.norm=layer model.init=kaiming_normal",
        "each layer's input has unit variance, and He's weights keep the gradient",
    ),
    _healthy(
        "rms_norm_after",
        "seed=17 model.depth=8 model.norm=rms model.norm_position=after model.init=kaiming_normal",
        "as with layer normalisation",
    ),
    _healthy(
        "batch_norm",
        "seed=18 model.depth=5 model.norm=batch model.init=kaiming_normal train.batch_size=128",
        "1.21 a layer (Yang et al. 2019): 0.4 decades",
    ),
    _healthy(
        "loss_small",
        "seed=19 model.depth=3 model.init=kaiming_normal loss.scale=1e-9 optim.lr=1e8",
        "scale and rate cancel: the same network as without",
    ),
    _healthy(
        "loss_large",
        "seed=20 model.depth=3 model.init=kaiming_normal loss.scale=1e6 optim.lr=1e-7",
        "scale and rate cancel: the same network as without",
    ),
    _healthy(
        "loss_tiny_float64",
        "seed=21 model.depth=4 model.activation=tanh model.init=xavier_normal loss.scale=1e-37"
        " optim.lr=1e36 train.dtype=float64",
        "scale and rate cancel, and float64 holds 1e-308",
    ),
    _healthy(
        "wide",
        "seed=22 model.depth=2 model.width=1024 model.init=kaiming_normal optim.lr=0.02",
        EDGE,
    ),
    _healthy(
        "narrow",
        "seed=23 model.depth=2 model.width=8 model.activation=tanh model.init=xavier_normal",
        SHALLOW,
    ),
    _healthy(
        "clipped_always",
        "seed=24 model.depth=3 model.init=kaiming_normal clip=norm clip.max_norm=0.05 optim.lr=2",
        "every step has length 0.1: normalised gradient descent",
    ),
    _healthy(
        "clipped_value",
        "seed=25 model.depth=3 model.init=kaiming_normal clip=value clip.max_value=0.001"
        " optim.lr=3",
        "a clipped gradient still points downhill",
    ),
    _healthy(
        "clipped_layer",
        "seed=26 model.depth=3 model.activation=gelu model.init=kaiming_normal clip=layer"
        " clip.max_norm=0.1 optim.lr=0.5",
        "each layer's step is at most 0.05 long",
    ),
    _healthy(
        "clipped_adaptive",
        "seed=27 model.depth=3 model.init=kaiming_normal clip=adaptive optim.lr=1",
        "each unit moves by at most 1% of its weights a step",
    ),
    _healthy("adam", "seed=28 model.depth=5 model.init=kaiming_normal optim=adam", EDGE),
    _healthy(
        "adamw_tanh",
        "seed=29 model.depth=8 model.activation=tanh model.init=orthogonal optim=adamw",
        CHAOS,
    ),
    _healthy("rmsprop", "seed=30 model.depth=4 model.init=kaiming_normal optim=rmsprop", EDGE),
    _healthy(
        "momentum",
        "seed=31 model.depth=3 model.init=kaiming_normal optim.momentum=0.9 optim.lr=0.02",
        EDGE,
    ),
    _healthy(
        "float16",
        "seed=32 model.depth=3 model.init=kaiming_normal train.dtype=float16 loss.scale=64"
        " optim.lr=0.0015",
        "a loss scaled as for half precision (Micikevicius et al. 2018): entries near 1e-2",
    ),
    _healthy(
        "bfloat16",
        "seed=33 model.depth=3 model.init=kaiming_normal train.dtype=bfloat16",
        "bfloat16 has float32's range",
    ),
    _healthy(
        "float64", "seed=34 model.depth=6 model.init=kaiming_normal train.dtype=float64", EDGE
    ),
    _healthy(
        "regression",
        "seed=35 model.depth=2 model.activation=tanh model.init=xavier_normal data=diabetes"
        " loss=mse optim.lr=0.02",
        SHALLOW,
    ),
    _healthy(
        "delivery",
        "seed=36 model.depth=3 model.init=kaiming_normal data=delivery loss=huber optim.lr=0.05",
        EDGE,
    ),
    _healthy(
        "deep_linear",
        "seed=37 model.depth=20 model.activation=identity model.init=orthogonal data=delivery"
        " loss=mse optim.lr=0.003",
        "orthogonal maps keep every norm",
    ),
    _healthy("bce", "seed=38 model.depth=3 model.init=kaiming_normal loss=bce optim.lr=0.5", EDGE),
    _healthy(
        "focal",
        "seed=39 model.depth=2 model.activation=elu model.init=lsuv loss=focal",
        "unit variances on the first batch",
    ),
    _healthy(
        "softmax_from_zero",
        "seed=40 model.depth=0 model.init=zeros optim.lr=0.3",
        CONVEX + "without hidden units there is no symmetry to break",
    ),
    _healthy(
        "converged",
        "seed=41 model.depth=2 model.init=kaiming_normal data.test_fraction=0.98"
        " train.batch_size=35 train.steps=120 optim=adam optim.lr=0.01",
        "35 samples learnt by heart: the gradient is tiny because nothing is left to learn",
    ),
    _healthy(
        "converged_tanh",
        "seed=42 model.depth=3 model.activation=tanh model.init=orthogonal train.steps=120"
        " data.test_fraction=0.97 train.batch_size=53 optim.momentum=0.9 optim.lr=0.3",
        "53 samples learnt by heart",
    ),
    _healthy(
        "half_rate",
        "seed=43 model.depth=0 data=diabetes loss=mse train.batch_size=353 optim.lr=0.06032",
        CONVEX + "lr = 0.5 / lambda_max",
    ),
    _healthy(
        "full_rate",
        "seed=44 model.depth=0 data=diabetes loss=mse train.batch_size=353 optim.lr=0.12065",
        CONVEX + "lr = 1 / lambda_max: the steepest direction is done in one step",
    ),
    _healthy(
        "nearly_twice_rate",
        "seed=45 model.depth=0 data=diabetes loss=mse train.batch_size=353 optim.lr=0.22923",
        CONVEX + "lr = 1.9 / lambda_max: below 2, it converges",
    ),
    _healthy(
        "momentum_at_thrice_rate",
        "seed=46 model.depth=0 data=diabetes loss=mse train.batch_size=353 optim.lr=0.36194"
        " optim.momentum=0.9 train.steps=100",
        CONVEX + "lr = 3 / lambda_max, and with momentum 0.9 the limit is 3.8 (Polyak 1964)",
    ),
]
