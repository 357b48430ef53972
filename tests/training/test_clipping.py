"""Clipping agrees with loops in NumPy and with torch, also for tiny and huge gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.training import clipping

SHAPES = {
    "layers.0.linear.weight": (4, 3),
    "layers.0.linear.bias": (4,),
    "layers.0.norm.weight": (4,),
    "layers.1.linear.weight": (2, 4),
    "layers.1.linear.bias": (2,),
}


def draw(members=3, scale=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(members, *shape, generator=generator, dtype=torch.float64).to(dtype)
        * scale
        for name, shape in SHAPES.items()
    }


def whole(grads, member):
    return torch.cat([g[member].double().flatten() for g in grads.values()])


KINDS = {
    "norm": lambda g, p: clipping.by_global_norm(g, p, max_norm=1.0),
    "layer": lambda g, p: clipping.by_layer_norm(g, p, max_norm=1.0),
    "value": lambda g, p: clipping.by_value(g, p, max_value=0.5),
    "adaptive": lambda g, p: clipping.adaptive(g, p, ratio=0.1, eps=1e-3, clip_output=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_is_clipped_separately(kind):
    grads, params = draw(), draw(seed=1)
    sizes = torch.tensor([0.01, 1.0, 1e6])
    grads = {name: g * sizes.view(3, *[1] * (g.ndim - 1)) for name, g in grads.items()}
    together = KINDS[kind](grads, params)
    for member in range(3):
        one = slice(member, member + 1)
        alone = KINDS[kind](
            {name: g[one] for name, g in grads.items()},
            {name: p[one] for name, p in params.items()},
        )
        for name in SHAPES:
            assert torch.equal(together[name][one], alone[name])


def test_by_global_norm_equals_torch():
    grads = draw(members=1, scale=3.0)
    ours = clipping.by_global_norm(grads, grads, max_norm=1.0)
    params = [torch.nn.Parameter(g[0].clone()) for g in grads.values()]
    for param, g in zip(params, grads.values(), strict=True):
        param.grad = g[0].clone()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    for param, clipped in zip(params, ours.values(), strict=True):
        torch.testing.assert_close(
            clipped[0], param.grad, rtol=1e-5, atol=0
        )  # torch divides by norm + 1e-6
    assert float(whole(ours, 0).norm()) == pytest.approx(1.0, rel=1e-12)


def test_by_layer_norm_equals_a_loop_over_layers():
    grads = draw(scale=0.4)
    ours = clipping.by_layer_norm(grads, grads, max_norm=1.0)
    for member in range(3):
        for layer in ("layers.0", "layers.1"):
            names = [name for name in SHAPES if name.startswith(layer)]
            size = math.sqrt(sum(float((grads[n][member] ** 2).sum()) for n in names))
            for name in names:
                expected = grads[name][member] * min(1.0, 1.0 / size)
                torch.testing.assert_close(ours[name][member], expected, rtol=1e-12, atol=0)


def agc_by_hand(grad, weight, ratio, eps):
    """Clip one member unit by unit (Brock et al. 2021, eq. 3)."""
    grad, weight = grad.numpy().copy(), weight.numpy()
    rows = range(len(grad)) if grad.ndim == 2 else [slice(None)]
    for i in rows:
        size, limit = np.linalg.norm(grad[i]), ratio * max(np.linalg.norm(weight[i]), eps)
        if size > limit:
            grad[i] *= limit / size
    return grad


def test_adaptive_equals_the_equation_of_the_paper():
    grads, params = draw(), draw(seed=1)
    params["layers.0.linear.weight"][0, 1] = 0.0  # a row of zero weights
    grads["layers.0.linear.weight"][1, 2] = 0.0  # a row of zero gradient
    for clip_output in (False, True):
        ours = clipping.adaptive(grads, params, ratio=0.1, eps=1e-3, clip_output=clip_output)
        for name in SHAPES:
            assert ours[name].isfinite().all()
            for member in range(3):
                expected = agc_by_hand(grads[name][member], params[name][member], 0.1, 1e-3)
                if name.startswith("layers.1") and not clip_output:
                    expected = grads[name][member]
                np.testing.assert_allclose(ours[name][member], expected, rtol=1e-12)


def test_gradients_of_1e25_in_float32_keep_their_direction():
    grads = draw(members=2, scale=1e25, dtype=torch.float32)
    ours = clipping.by_global_norm(grads, grads, max_norm=1.0)
    for member in range(2):
        assert float(whole(ours, member).norm()) == pytest.approx(1.0, rel=1e-6)
    params = [torch.nn.Parameter(g[0].clone()) for g in grads.values()]
    for param in params:
        param.grad = param.detach().clone()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    assert not any(param.grad.any() for param in params)  # torch returns zeros


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_tiny_and_huge_float64_gradients_have_the_right_direction(scale):
    grads = {name: g.clamp(-3, 3) for name, g in draw(members=1).items()}
    scaled = {name: g * scale for name, g in grads.items()}
    limit = 1e-302 if scale < 1 else 1.0
    ours = clipping.by_global_norm(scaled, scaled, max_norm=limit)
    direction = whole(grads, 0) / whole(grads, 0).norm()
    torch.testing.assert_close(whole(ours, 0) / limit, direction, rtol=1e-9, atol=1e-12)


@given(st.floats(-30, 30), st.sampled_from(["norm", "layer"]))
def test_clipping_limits_the_norm_preserves_the_direction_and_is_idempotent(power, kind):
    grads = draw(members=2, scale=10.0**power)
    ours = KINDS[kind](grads, grads)
    for member in range(2):
        before, after = whole(grads, member), whole(ours, member)
        if kind == "norm":
            assert float(after.norm()) <= 1 + 1e-9
            cosine = float(before @ after / before.norm() / after.norm())
            assert cosine == pytest.approx(1, rel=1e-12)
    again = KINDS[kind](ours, ours)
    for name in SHAPES:
        torch.testing.assert_close(again[name], ours[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_below_the_threshold_are_unchanged(kind, dtype):
    grads, params = draw(scale=1e-4, dtype=dtype), draw(seed=1, dtype=dtype)
    for name, clipped in KINDS[kind](grads, params).items():
        assert torch.equal(clipped, grads[name])
        assert clipped.dtype == dtype


@pytest.mark.parametrize("kind", ["norm", "layer", "adaptive"])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_inf_and_nan_do_not_become_finite(kind, bad):
    grads, params = draw(), draw(seed=1)
    grads["layers.0.linear.weight"][1, 0, 0] = bad
    clipped = KINDS[kind](grads, params)
    assert not whole(clipped, 1).isfinite().all()
    assert whole(clipped, 0).isfinite().all()


def test_by_value_clamps_inf_but_not_nan():
    grads = {"layers.0.linear.bias": torch.tensor([[math.inf, -math.inf, math.nan, 0.1]])}
    (clipped,) = clipping.by_value(grads, grads, max_value=0.5).values()
    assert clipped[0, :2].tolist() == [0.5, -0.5]
    assert clipped[0, 2].isnan()
