"""Theory against Monte Carlo: log10 of ‖dLoss/dW_1‖ / ‖dLoss/dW_L‖ and of the error signal's ratio.

python benchmarks/theory.py [seeds] [width]

The table has a row for every activation and initialisation that theory covers, at depth 10 and 50.
It compares the prediction with the mean over random networks, for one random sample of unit mean
square and a random gradient at the output. It also shows the share of networks inside the
predicted band of ±1 standard deviation (nominal: 68%). Networks with gradients that are not finite
in float64 are left out; the column `networks` counts the others.
"""

import sys

import numpy as np
import pandas as pd

import gradlab
from gradlab.config import choices
from gradlab.errors import PredictionError
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.dense import Dense, backward, forward
from gradlab.theory.variance import variances

DEPTHS, OUTPUTS = (10, 50), 10


def draw_map(v, uniform, rng):
    """Return weights [n_in, n_out] and biases of a map, as an initialisation draws them."""

    def draw(shape, variance):
        std = np.sqrt(variance)
        if uniform:
            return rng.uniform(-np.sqrt(3) * std, np.sqrt(3) * std, shape)
        return std * rng.standard_normal(shape)

    W = draw((v.n_in, v.n_out), v.weight)
    if v.orthogonal:
        q, r = np.linalg.qr(rng.standard_normal((max(W.shape), min(W.shape))))
        q = q * np.sign(np.diag(r)) * np.sqrt(v.weight * max(W.shape) if v.fixed is None else 1)
        W = q if v.n_in >= v.n_out else q.T
    return W, draw(v.n_out, v.bias)


def network(widths, phi, init, x, rng):
    """Return layers drawn as an initialisation draws them; LSUV's are scaled on x."""
    layers, a = [], x
    maps = variances(widths, init, activation=phi, input_rms=1.0)
    for l, v in enumerate(maps, 1):
        W, b = draw_map(v, init == "default" or init.endswith("uniform"), rng)
        if v.fixed is not None:
            W = W * np.sqrt(v.fixed) / (a @ W).std()
        layers.append(Dense(W, b, ACTIVATIONS[phi if l < len(maps) else "identity"]))
        a = layers[-1].phi.f(a @ W + b)
    return layers


def ratios(widths, phi, init, seeds):
    """Return log10 of the first layer's ‖dW‖ and ‖dZ‖ over the last layer's, [seeds, 2]."""
    out = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((1, widths[0]))
        x *= np.sqrt(x.size / (x**2).sum())
        layers = network(widths, phi, init, x, rng)
        grads = backward(layers, forward(layers, x), rng.standard_normal((1, widths[-1])))
        ends = [[np.linalg.norm(g.dW), np.linalg.norm(g.dZ)] for g in (grads[0], grads[-1])]
        out.append(np.log10(ends[0]) - np.log10(ends[1]))
    return np.array(out)


def table(seeds, width):
    """Return a row per activation, initialisation and depth."""
    rows = []
    for depth in DEPTHS:
        widths = [width] * (depth + 1) + [OUTPUTS]
        for phi in ACTIVATIONS:
            for init in choices.names("model/init"):
                try:
                    first = gradlab.predict(widths, phi, init).iloc[0]
                except PredictionError:
                    continue
                with np.errstate(all="ignore"):
                    found = ratios(widths, phi, init, seeds)
                found = found[np.isfinite(found).all(axis=1)]
                row = {"depth": depth, "activation": phi, "init": init, "networks": len(found)}
                for k, name in enumerate(("weight_grad", "delta")):
                    predicted, spread = np.log10(first[f"{name}_norm"]), first[f"{name}_sd"]
                    row |= {
                        f"{name}": found[:, k].mean(),
                        f"{name} theory": predicted,
                        f"{name} sd": found[:, k].std(ddof=1),
                        f"{name} sd theory": spread,
                        f"{name} inside": (abs(found[:, k] - predicted) <= spread).mean(),
                    }
                rows.append(row)
    return pd.DataFrame(rows)


def main(seeds=20, width=256) -> None:
    """Print the table and a summary."""
    found = table(seeds, width)
    print(found.round(3).to_string(index=False))
    for name, group in found.groupby("init"):
        error = (group["weight_grad"] - group["weight_grad theory"]).abs()
        print(f"{name}: median {error.median():.3f}, worst {error.max():.3f}")
    for name in ("weight_grad", "delta"):
        error = (found[name] - found[f"{name} theory"]).abs()
        inside = np.average(found[f"{name} inside"], weights=found["networks"])
        spread = (found[f"{name} sd"] / found[f"{name} sd theory"]).median()
        print(
            f"\n{name}: |measured - predicted| in decades: median {error.median():.3f}, "
            f"90% below {error.quantile(0.9):.3f}, worst {error.max():.3f}; measured sd over "
            f"predicted, median {spread:.2f}; {inside:.0%} of networks inside the band (68%)"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
