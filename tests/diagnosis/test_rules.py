"""Each rule on networks that have its pathology by construction, and on healthy neighbours."""

import numpy as np
import pandas as pd
import pytest
import torch

from gradlab.config.choices import Component
from gradlab.diagnosis.diagnose import diagnose, interval, pool
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.diagnosis.optimisation import starved, unstable
from gradlab.diagnosis.precision import log10_entries, underflow
from gradlab.diagnosis.record import Record
from gradlab.diagnosis.sentences import layers_text
from tests.configs import settings, train
from tests.diagnosis.test_verdicts import arrow, frame


def judged(run, dataset=None):
    """Train a network; return its findings by kind."""
    loop, (sink,) = train(run, dataset=dataset)
    layers = pd.concat([pd.DataFrame(rows) for rows in sink.layers], ignore_index=True)
    names = ["step", "loss", "grad_norm", "clip_factor", "lr", "descent"]
    names += ["accuracy"] if loop.minibatches.dataset.task == "classification" else []
    steps = pd.DataFrame({name: sink.steps(name) for name in names})
    findings = diagnose(layers, steps, run.flat)
    return {finding.kind: finding for finding in findings}


def of(**overrides):
    return judged(settings(train__steps=60, **overrides))


# Zeros: made by the dtype, by phi', or only small.


def test_a_gradient_below_what_float16_holds_underflows():
    for scale in (3e-4, 1e-4, 3e-5, 1e-5):
        rate = min(0.1 / scale, 3e4)
        found = of(train__dtype="float16", loss__scale=scale, optim__lr=rate)
        assert [*found] == ["underflow"], scale  # the lower layers get exact zeros, for no factor's
        assert found["underflow"].evidence["zeros"] > 0.5
        assert "float16" in found["underflow"].cause
        assert not of(train__dtype="float32", loss__scale=scale, optim__lr=rate)


def test_a_signal_that_vanishes_until_it_underflows_has_both_findings():
    found = of(model__depth=60, model__activation="sigmoid", model__init_gain=0.1)
    assert [*found][:2] == ["vanishing", "underflow"]
    assert max(found["underflow"].where) < 60
    assert found["underflow"].severity == "severe"


def test_zeros_of_dead_units_are_not_an_underflow():
    found = judged(with_init("tests.diagnosis.inits.shifted"))
    assert "dead" in found
    assert "underflow" not in found


def test_factors_predict_the_size_of_gradients_that_are_0():
    """Ten layers of a factor of 1e-5 each: float32 has nothing left below the eighth."""
    logs = -5.0 * np.arange(12)[::-1]
    weights = np.where(logs < -44, 0.0, 10.0**logs)
    alive = weights > 0
    layers = frame(
        weights,
        weight_grad_norm=weights,
        act_factor=np.where(alive, 1e-5, np.nan),
        grad_zeros=np.where(alive, 0.0, 1.0),
    )
    sizes = log10_entries(Record(layers, pd.DataFrame({"step": []})))
    assert sizes[0] == pytest.approx(logs)
    found = underflow(Record(layers, pd.DataFrame({"step": []})))
    assert found is not None
    assert found.where == (1, 2, 3)


# Numbers that are not finite.


def test_the_first_layer_that_overflows_is_named():
    layers = frame([1.0] * 5, steps=3)
    bad = (layers["step"] == 20) & (layers["position"] >= 3)
    layers.loc[bad, "act_std"] = np.inf
    steps = pd.DataFrame({"step": range(21), "loss": np.geomspace(1, 1e6, 21)})
    (found, *_) = diagnose(layers, steps, {"train.dtype": "float16"})
    assert (found.kind, found.where, found.since) == ("overflow", (3,), 20)
    assert found.cause.endswith("because float16 holds numbers up to 65,504")
    assert found.remedies[0] == "train.dtype=bfloat16"
    backward = layers.assign(act_std=1.0)
    backward.loc[bad, "delta_norm"] = np.nan
    (found, *_) = diagnose(arrow(backward), steps)
    assert (found.kind, found.where) == ("overflow", (5,))


def test_a_loss_that_is_not_finite_is_named():
    steps = pd.DataFrame({"step": range(30), "loss": [1.0] * 29 + [np.inf]})
    (found,) = diagnose(frame([1.0, 1.0], steps=3), steps)
    assert found.cause == (
        "the loss becomes inf or NaN at step 29, after a loss of 1 (1 at the first step)"
    )


# Units that are equal.


def with_init(path, **overrides):
    run = settings(train__steps=40, model__depth=4, **overrides)
    object.__setattr__(run.model, "init", Component(path, path, {}))
    return run


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_zeros_are_symmetric(activation):
    found = of(model__init="zeros", model__activation=activation)
    assert next(iter(found)) == "symmetric"
    assert found["symmetric"].since <= 10


def test_a_linear_model_has_no_symmetry_to_break():
    assert not of(model__init="zeros", model__depth=0)


def test_constant_weights_are_symmetric():
    found = judged(with_init("tests.diagnosis.inits.constant"))
    assert next(iter(found)) == "symmetric"
    assert found["symmetric"].where == (1, 2, 3, 4)
    assert "symmetric" not in judged(with_init("tests.diagnosis.inits.almost_constant"))


# Steps.


def edge():
    """The largest rate at which gradient descent on the diabetes data is stable: 2 / λ_max."""
    x = settings(data="diabetes", loss="mse").data.call().x_train.numpy()
    x = np.hstack([x, np.ones((len(x), 1))])
    return 2 / np.linalg.eigvalsh(2 * x.T @ x / len(x)).max()


@pytest.mark.parametrize(("share", "sick"), [(0.5, False), (0.95, False), (1.02, True)])
def test_a_rate_above_two_over_the_curvature_is_unstable(share, sick):
    run = settings(
        data="diabetes",
        loss="mse",
        model__depth=0,
        optim__lr=share * edge(),
        train__batch_size=353,
        train__steps=400,
    )
    found = judged(run)
    assert ([*found] or ["healthy"])[0] == ("unstable" if sick else "healthy")


def test_steps_so_large_that_the_gradient_grows_are_named_before_the_growth():
    run = settings(
        data="diabetes",
        loss="mse",
        model__depth=0,
        optim__lr=1.1 * edge(),
        train__batch_size=353,
        train__steps=100,
    )
    assert [*judged(run)] == ["unstable", "exploding"]


def test_steps_that_fit_one_batch_and_wreck_the_others_are_unstable():
    found = of(model__depth=0, model__init="zeros", optim__lr=300.0)
    assert "the loss rises from 2.3" in found["unstable"].cause


def test_an_update_as_large_as_the_weights_is_unstable():
    layers = frame([1.0, 1.0], update_ratio=[0.5, 1e-3])
    found = unstable(Record(layers, pd.DataFrame({"step": []})))
    assert found is not None
    assert (found.where, found.severity) == ((1,), "mild")


def test_a_layer_that_learns_a_thousand_times_slower_starves():
    record = Record(frame([1.0] * 4, update_ratio=[1e-3, 1e-7, 1e-3, 1e-3]), pd.DataFrame())
    found = starved(record)
    assert found is not None
    assert (found.where, found.evidence["ratio"]) == ((2,), pytest.approx(1e-4))
    assert starved(Record(frame([1.0] * 4), pd.DataFrame())) is None


def test_updates_that_bfloat16_removes_are_reported():
    found = judged(with_init("tests.diagnosis.inits.one_huge_layer", train__dtype="bfloat16"))
    assert found["starved"].where == (3,)
    assert "bfloat16 rounds weight plus update to the weight" in found["starved"].cause


# Optimiser and clipping.


def test_a_smaller_eps_helps_a_gradient_below_the_eps_of_adam():
    sick = of(optim="adam", loss__scale=1e-9)
    assert sick["below_eps"].severity == "severe"
    assert not of(optim="adam", loss__scale=1e-9, optim__eps=1e-20)
    assert "below_eps" not in of(optim="adam")


def test_clipping_that_never_or_always_acts_is_noted_and_not_a_verdict():
    never = of(clip="norm", clip__max_norm=1e6)
    always = of(clip="norm", clip__max_norm=1e-3, optim__lr=10.0)
    for found, words in ((never, "never"), (always, "100% of 60 steps")):
        assert [*found] == ["clipping"]
        assert words in found["clipping"].cause
        assert Findings([*found.values()]).verdict == "healthy"
    assert "clipping" not in of()


@pytest.mark.parametrize(("share", "severity"), [(0.92, "mild"), (1.0, "severe")])
@pytest.mark.parametrize("kind", ["dead", "saturated"])
def test_a_layer_of_which_nothing_is_left_is_severe(kind, share, severity):
    (found,) = diagnose(frame([1.0] * 3, **{kind: [share, 0.0, 0.0]}))
    assert (found.kind, found.where, found.severity) == (kind, (1,), severity)


# Saturation is not sparseness.


def test_a_sparse_relu_layer_is_not_saturated():
    layers = frame([1.0] * 3, saturated=[0.8, 0.8, 0.0])
    assert not diagnose(layers, None, {"model.activation": "relu"})
    assert [f.kind for f in diagnose(layers, None, {"model.activation": "tanh"})] == ["saturated"]


# Thresholds of the user.


def test_a_threshold_can_be_set():
    layers = frame([10**-2.5, 1.0])
    assert not diagnose(layers)
    assert [f.kind for f in diagnose(layers, None, {"diagnose.decades": 2.0})] == ["vanishing"]


# Several seeds.


def test_findings_of_seeds_have_a_confidence_and_no_order():
    sick, well = frame([1e-5, 1.0]), frame([1.0, 1.0])
    runs = [sick.assign(run="a"), well.assign(run="b"), sick.assign(run="c"), sick.assign(run="d")]
    found = diagnose(pd.concat(runs))
    assert [(f.kind, f.confidence) for f in found] == [("vanishing", 0.75)]
    low, high = found[0].evidence["low"], found[0].evidence["high"]
    assert low < 0.75 < high
    assert diagnose(pd.concat(runs[::-1])) == found


def test_the_interval_of_a_share():
    """Brown, Cai & DasGupta 2001: Jeffreys; at the ends it reaches 0 and 1."""
    assert interval(0, 5)[0] == 0
    assert interval(5, 5)[1] == 1
    rng = np.random.default_rng(0)
    covered = []
    for p in rng.uniform(0, 1, 4000):  # under Jeffreys' prior it would be 90% exactly
        low, high = interval(int(rng.binomial(8, p)), 8)
        covered.append(low <= p <= high)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_a_pooled_finding_is_the_one_of_the_median_run():
    def at(decades):
        return [Finding("vanishing", (1,), 0, "mild", f"{decades}", {"decades": decades})]

    (found,) = pool([at(-4.0), at(-9.0), at(-5.0)])
    assert (found.cause, found.confidence) == ("-5.0", 1.0)


@pytest.mark.parametrize("width", [16, 256])
def test_width_changes_no_verdict(width):
    found = of(model__depth=10, model__activation="sigmoid", model__width=width)
    assert next(iter(found)) == "vanishing"
    assert not of(model__depth=10, model__init="kaiming_normal", model__width=width)


@pytest.fixture(autouse=True)
def _quiet():
    torch.manual_seed(0)


def test_positions_of_layers_print_as_ranges():
    assert layers_text([1, 2, 3, 7]) == "layers 1-3, 7"
    assert layers_text([4], ["head"]) == "layer 4 (module head)"
    assert layers_text([1, 2, 3, 7], [*"abcd"]) == "layers 1-3, 7 (modules a, b, c, …)"
    assert layers_text([]) == "some layers"
