"""Critical points, and the decades of fifty layers there."""

import numpy as np
import pytest
import torch
from torch import nn

import gradlab
from gradlab.config.choices import pick
from gradlab.errors import PredictionError, SettingsError
from gradlab.models.feedforward import MLP
from gradlab.models.init import by_autograd, critical
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.theory.moments import average
from gradlab.theory.phase import find_critical_point, length_map

WITH_POINT = [name for name in ACTIVATIONS if name != "softplus"]
OTHERS = [nn.Mish, nn.Hardswish, nn.Softsign, nn.CELU, nn.LogSigmoid, nn.Hardtanh, nn.ReLU6]


@pytest.mark.parametrize("name", WITH_POINT)
def test_a_critical_point_is_a_fixed_point_that_does_not_repel(name):
    phi, point = ACTIVATIONS[name], find_critical_point(ACTIVATIONS[name])
    q = point.q or 1e-10
    chi = point.sigma_w**2 * average(lambda z: phi.derivative(z) ** 2, q)
    assert chi == pytest.approx(1, abs=2e-5)
    assert length_map(phi, q, point.sigma_w, point.sigma_b) == pytest.approx(q, rel=2e-5)
    around = [length_map(phi, c * q, point.sigma_w, point.sigma_b) / q for c in (0.98, 1.02)]
    assert (around[1] - around[0]) / 0.04 <= 1 + 1e-3


def test_only_gelu_and_silu_need_biases():
    biased = {name for name in WITH_POINT if find_critical_point(ACTIVATIONS[name]).sigma_b > 0}
    assert biased == {"gelu", "silu"}
    everywhere = {
        name for name in WITH_POINT if find_critical_point(ACTIVATIONS[name]).every_variance
    }
    assert everywhere == {"relu", "leaky_relu", "identity"}


@pytest.mark.parametrize("name", WITH_POINT)
def test_torchs_module_has_the_same_point(name):
    by_torch = find_critical_point(by_autograd(pick("model/activation", name).call()))
    by_hand = find_critical_point(ACTIVATIONS[name])
    for part in ("sigma_w", "sigma_b", "q"):
        assert getattr(by_torch, part) == pytest.approx(getattr(by_hand, part), rel=1e-7, abs=1e-12)


def decades(activation, seeds=8, depth=50, width=256):
    """Mean over networks of log10 ‖delta_1‖ / ‖delta_L‖, by torch."""
    found = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(16, 64, generator=generator, dtype=torch.float64)
        model = MLP([64, *[width] * depth, 10], activation).double()
        critical(model, x, generator)
        outputs = []
        for layer in (model.layers[0], model.layers[-1]):
            layer.linear.register_forward_hook(
                lambda m, i, z, to=outputs: (z.retain_grad(), to.append(z))[1]
            )
        model(x[:1]).backward(torch.randn(1, 10, generator=generator, dtype=torch.float64))
        found.append(float(torch.log10(outputs[0].grad.norm() / outputs[1].grad.norm())))
    return float(np.mean(found))


# The last map has gain 1: it causes 0.15 decades of ReLU's and 1.0 of sigmoid's loss. The variance
# of tanh, ELU and SELU approaches its fixed point only as 1 / depth; the loss arises on the way.
SMALL = dict.fromkeys(WITH_POINT, 0.6) | {"tanh": 1.0, "elu": 1.3, "selu": 1.3, "sigmoid": 1.5}


@pytest.mark.parametrize("name", WITH_POINT)
def test_fifty_layers_keep_the_error_signal(name):
    found = decades(pick("model/activation", name).call)
    assert abs(found) < SMALL[name]
    frame = gradlab.predict([64, *[256] * 50, 10], name, "critical")
    assert found == pytest.approx(np.log10(frame["delta_norm"][0]), abs=0.3)


def test_default_initialisation_does_not_keep_the_error_signal():
    for name in ("tanh", "gelu", "sigmoid"):
        frame = gradlab.predict([64, *[256] * 50, 10], name)
        assert np.log10(frame["delta_norm"][0]) < -10


@pytest.mark.parametrize("activation", OTHERS)
def test_a_users_own_activation(activation):
    try:
        point = find_critical_point(by_autograd(activation()))
    except PredictionError:
        assert activation is nn.LogSigmoid  # a mirrored softplus
        return
    assert 0.5 < point.sigma_w < 20
    # Softsign approaches its point even more slowly than ELU.
    assert abs(decades(activation, seeds=3)) < (2.2 if activation is nn.Softsign else 1.5)


def test_the_first_layer_starts_at_the_fixed_point():
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(256, 64, generator=generator, dtype=torch.float64)
    model = MLP([64, 512, 512, 10], nn.SiLU).double()
    critical(model, x, generator)
    z = [layer.linear(h) for layer, h in zip(model.layers, (x, model.layers[0](x)), strict=False)]
    q = find_critical_point(ACTIVATIONS["silu"]).q
    assert [float(each.detach().square().mean()) for each in z] == pytest.approx([q, q], rel=0.1)
    assert not model.layers[-1].linear.bias.any()


def test_softplus_has_no_critical_point():
    with pytest.raises(PredictionError, match="softplus has no critical point: at every fixed"):
        find_critical_point(ACTIVATIONS["softplus"])
    model = MLP([4, 4, 4], nn.Softplus)
    with pytest.raises(
        SettingsError, match=r"Softplus has no .*; choose model.init=kaiming_normal"
    ) as caught:
        critical(model, torch.ones(2, 4), torch.Generator())
    assert "\n" not in str(caught.value)


def test_the_critical_point_of_a_chosen_bias():
    point = find_critical_point(ACTIVATIONS["tanh"], 0.2)
    assert point.sigma_b == 0.2
    assert gradlab.phase("tanh", point.sigma_w, 0.2).phase == "critical"
    with pytest.raises(PredictionError, match=r"gelu has no critical point with sigma_b=0.2"):
        find_critical_point(ACTIVATIONS["gelu"], 0.2)  # its point repels variances
