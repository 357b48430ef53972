"""Random networks by hand, for one sample: plain, normalised and residual, any weights."""

from itertools import pairwise

import numpy as np
import pytest

from gradlab.reference.activation_functions import ACTIVATIONS


def weights(rng, n, m, init, scale):
    """Return W [n, m] of variance scale² / n, or scale times a part of a rotation."""
    if init == "normal":
        return scale * rng.standard_normal((n, m)) / np.sqrt(n)
    q, r = np.linalg.qr(rng.standard_normal((max(n, m), min(n, m))))
    q = scale * q * np.sign(np.diag(r))
    return q if n >= m else q.T


def normalised(z, norm):
    """Return u, and the standard deviation by which z was divided."""
    z = z - (z.mean() if norm == "layer" else 0)
    std = np.sqrt((z**2).mean())
    return z / std, std


def ratios(rng, widths, phi, init, scale, sigma_b, norm, s):
    """Return log10 of each layer's ‖delta‖ and ‖dW‖ over the last layer's, [L, 2]."""
    phi, last, layers = ACTIVATIONS[phi], len(widths) - 1, []
    h = rng.standard_normal(widths[0])
    h *= np.sqrt(len(h)) / np.linalg.norm(h)
    for l, (n, m) in enumerate(pairwise(widths), 1):
        W, std = weights(rng, n, m, "normal" if init == "normal" else "orthogonal", scale), None
        if init == "lsuv":
            W *= scale / (h @ W).std()
        u = h @ W + sigma_b * rng.standard_normal(m)
        if norm != "none" and l < last:
            u, std = normalised(u, norm)
        layers.append((W, h, u, std))
        a = phi.f(u)
        h = h + s * a if s is not None and 1 < l < last else a
    out, g = [], rng.standard_normal(widths[-1])
    for l, (W, h, u, std) in zip(range(last, 0, -1), layers[::-1], strict=True):
        inner = s is not None and 1 < l < last
        d = g if l == last else g * phi.derivative(u) * (s if inner else 1)
        if std is not None:
            d = (d - (d.mean() if norm == "layer" else 0) - u * (u * d).mean()) / std
        out.append([np.linalg.norm(d), np.linalg.norm(d) * np.linalg.norm(h)])
        g = W @ d + (g if inner else 0)
    return np.log10(out[::-1]) - np.log10(out[0])


def many(seeds, widths, phi, init="normal", scale=1.0, sigma_b=0.0, norm="none", s=None):
    """Return `ratios` of many networks, [seeds, L, 2]."""
    rng = np.random.default_rng(0)
    arguments = (widths, phi, init, scale, sigma_b, norm, s)
    return np.array([ratios(rng, *arguments) for _ in range(seeds)])


def assert_agree(found, frame, layers, off=0.01, rel=0.3):
    """Assert equal means (within the sampling error and `off`) and spreads (within `rel`)."""
    for k, name in enumerate(("delta", "weight_grad")):
        predicted, spread = np.log10(frame[f"{name}_norm"]), frame[f"{name}_sd"]
        for l in layers:
            error = found[:, l, k].std() / np.sqrt(len(found))
            assert found[:, l, k].mean() == pytest.approx(predicted[l], abs=4 * error + off)
            assert found[:, l, k].std() == pytest.approx(spread[l], rel=rel)
