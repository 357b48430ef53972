"""The benchmark of the diagnosis: its networks, other tools' rules, and a run from end to end."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from diagnosis import answers, networks, run, tables  # noqa: E402
from diagnosis.record import Record, record  # noqa: E402
from diagnosis.rivals import RIVALS  # noqa: E402
from diagnosis.seen import extremity  # noqa: E402

from gradlab.config.compose import compose  # noqa: E402


def test_there_are_enough_networks_and_no_name_or_seed_is_used_twice():
    names = [each.name for each in networks.NETWORKS]
    seeds = [word for each in networks.NETWORKS for word in each.overrides if "seed=" in word]
    assert len(names) >= 75
    assert len(set(names)) == len(set(seeds)) == len(names)
    assert sum(not each.sick for each in networks.NETWORKS) >= 25


@pytest.mark.parametrize("each", networks.NETWORKS, ids=lambda each: each.name)
def test_every_network_composes_and_has_a_label_a_degree_and_a_reason(each):
    settings, _ = compose("config", each.overrides)
    assert 40 <= settings.train.steps <= 150
    assert each.truth <= set(networks.LABELS)
    assert (each.degree == "none") == (each.truth == {"healthy"})
    assert each.degree in ("none", "mild", "severe")
    assert len(each.why) > 5


def test_every_third_network_of_each_label_is_held_out():
    held_out, training = networks.HELD_OUT, networks.TRAINING
    assert len(held_out) + len(training) == len(networks.NETWORKS)
    for stratum in networks.STRATA:
        assert len({each.stratum for each in stratum}) == 1
        assert sum(each in held_out for each in stratum) == len(stratum) // 3 >= 2


QUIET = {
    "grad_mean_abs": 1e-2,
    "grad_mean": 1e-3,
    "grad_norm": 1.0,
    "grad_zeros": 10.0,
    "grad_entries": 4160.0,
    "grad_range": 0.05,
    "delta_norm": 0.3,
    "nonfinite": 0.0,
    "weight_mean_abs": 0.1,
    "weight_mean": 0.001,
    "weight_norm": 8.0,
    "weight_variance": 0.02,
    "weight_zeros": 0.0,
    "update_mean_abs": 1e-3,
    "update_norm": 8e-3,
    "z_mean": 0.1,
    "z_near_zero": 0.0,
    "z_beyond_095": 0.3,
    "u_variance": 1.0,
    "u_beyond_5": 0.0,
    "a_mean": 0.4,
    "a_near_zero": 0.4,
    "a_beyond_095": 0.3,
    "a_not_positive": 0.4,
    "units_inactive": 0.05,
    "units_out_tanh": 0.0,
    "units_out_sigmoid": 0.0,
    "units_silent": 0.05,
    "units_extreme_sigmoid": 0.0,
    "units_extreme_tanh": 0.0,
}


def made(activation="relu", loss=None, accuracy=None, layers=4, **changed):
    """A record by hand, of 60 steps, without a fault; some numbers are changed.

    A changed number is one for all layers and records, or a list, one for each layer.
    """
    rng = np.random.default_rng(0)
    rows = []
    for step in range(0, 60, 5):
        for at in range(layers):
            row = {"step": step, "position": at + 1}
            for name, value in QUIET.items():
                value = changed.get(name, value)
                value = value[at] if isinstance(value, list) else value
                drift = 1 + step / 1000 + 0.1 * rng.random()  # no two records are the same
                row[name] = (
                    value * drift if name in ("grad_mean", "weight_mean", "z_mean") else value
                )
                row[name] *= 1 + step / 1000 if name in ("weight_norm", "a_mean") else 1
            rows.append(row)
    t = np.arange(60)
    loss = 2.3 * 0.97**t if loss is None else loss
    accuracy = 1 - 0.9 * 0.9**t if accuracy is None else accuracy
    steps = pd.DataFrame({"step": t, "loss": loss, "accuracy": accuracy})
    return Record(SETTINGS, "completed", pd.DataFrame(), steps, pd.DataFrame(rows), activation)


SETTINGS, _ = compose("config", ["tracking=none", "record.every=5"])
STUCK = np.full(60, 0.1)
DECAYED = [1e-6, 1e-4, 1e-2, 1.0]


@pytest.mark.parametrize("tool", RIVALS)
def test_no_rule_fires_on_a_quiet_record(tool):
    assert RIVALS[tool](made()) == set()


@pytest.mark.parametrize(
    ("tool", "label", "case"),
    [
        ("SageMaker", "vanishing", {"grad_mean_abs": [9e-8, 1e-4, 1e-3, 1e-2]}),
        ("SageMaker", "overflow", {"nonfinite": [0.0, 0.0, 0.0, 1.0]}),
        ("SageMaker", "dead", {"units_inactive": [0.0, 0.51, 0.0, 0.0]}),
        ("SageMaker", "saturated", {"activation": "tanh", "units_out_tanh": 0.6}),
        ("SageMaker", "saturated", {"activation": "sigmoid", "units_out_sigmoid": 0.6}),
        ("SageMaker", "unstable", {"update_mean_abs": 1.1}),
        ("SageMaker", "starved", {"update_mean_abs": [9e-10, 1e-3, 1e-3, 1e-3]}),
        ("SageMaker+init", "other", {"u_variance": [11.0, 1.0, 1.0, 1.0]}),
        ("SageMaker+init", "other", {"grad_range": 9e-4}),
        ("AutoTrainer", "vanishing", {"grad_norm": [9e-5, 1e-2, 1e-1, 1.0], "accuracy": STUCK}),
        ("AutoTrainer", "exploding", {"grad_norm": [71.0, 9.0, 3.0, 1.0], "accuracy": STUCK}),
        ("AutoTrainer", "dead", {"grad_zeros": 3000.0, "accuracy": STUCK}),
        ("AutoTrainer", "other", {"accuracy": STUCK}),
        ("AutoTrainer", "overflow", {"loss": np.full(60, np.nan)}),
        ("AutoTrainer", "unstable", {"accuracy": np.repeat([0.95, 0.85] * 6, 5)}),
        ("DeepDiagnosis", "vanishing", {"grad_mean_abs": [9e-8, 1e-4, 1e-3, 1e-2]}),
        ("DeepDiagnosis", "dead", {"a_not_positive": [0.1, 0.7, 0.1, 0.1]}),
        ("DeepDiagnosis", "saturated", {"activation": "tanh", "u_beyond_5": 0.6}),
        ("DeepDiagnosis", "overflow", {"nonfinite": 1.0}),
        ("DeepDiagnosis", "underflow", {"grad_mean": 0.0}),
        ("DeepDiagnosis", "other", {"loss": np.full(60, 2.3)}),
        ("TheDeepChecker", "vanishing", {"grad_mean_abs": [9e-7, 1e-4, 1e-3, 1e-2]}),
        ("TheDeepChecker", "exploding", {"grad_mean_abs": [1.1e6, 1e4, 1e2, 1.0]}),
        ("TheDeepChecker", "dead", {"units_silent": [0.0, 0.6, 0.0, 0.0]}),
        ("TheDeepChecker", "saturated", {"activation": "tanh", "units_extreme_tanh": 0.6}),
        ("TheDeepChecker", "unstable", {"update_mean_abs": 2e-2}),
        ("TheDeepChecker", "starved", {"update_mean_abs": [9e-6, 1e-3, 1e-3, 1e-3]}),
        ("TheDeepChecker", "symmetric", {"weight_variance": [0.0, 0.02, 0.02, 0.02]}),
        ("torchmortem", "vanishing", {"delta_norm": [9e-3, 1e-1, 0.5, 1.0]}),
        ("torchmortem", "exploding", {"delta_norm": [1001.0, 100.0, 50.0, 20.0]}),
        ("torchmortem", "dead", {"a_near_zero": [0.0, 0.6, 0.0, 0.0]}),
        ("torchmortem", "saturated", {"a_beyond_095": [0.0, 0.6, 0.0, 0.0]}),
        ("torchmortem", "starved", {"update_norm": [7e-5, 8e-3, 8e-3, 8e-3]}),
        ("torchmortem", "unstable", {"update_norm": 0.9}),
        ("torchmortem", "unstable", {"loss": 1.2 ** np.arange(60)}),
        ("...critical", "vanishing", {"delta_norm": [9e-4, 1e-1, 0.5, 1.0]}),
        ("...critical", "dead", {"a_near_zero": [0.0, 0.81, 0.0, 0.0]}),
    ],
)
def test_a_rule_fires_on_its_case(tool, label, case):
    assert label in RIVALS[tool](made(**case))


def test_autotrainer_ignores_a_ratio_without_a_stuck_accuracy():
    assert RIVALS["AutoTrainer"](made(grad_norm=DECAYED)) == set()  # it learns: all is well


def test_the_histogram_measure_is_1_at_the_ends_and_0_in_the_middle():
    import torch

    ends, middle = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [0.5]])
    assert float(extremity(ends.double())) == pytest.approx(1)
    assert float(extremity(middle.double())) == pytest.approx(0)


def test_a_network_is_examined_from_end_to_end():
    (healthy,) = [each for each in networks.NETWORKS if each.name == "shallow"]
    (dead,) = [each for each in networks.NETWORKS if each.name == "dead_layer"]
    answers = [run.examine(each) for each in (healthy, dead)]
    assert answers[0].given["gradlab"] == set()
    assert answers[1].given["gradlab"] == {"dead"}
    assert all("dead" in answers[1].given[tool] for tool in ("SageMaker", "DeepDiagnosis"))
    assert tables.totals(answers).loc["gradlab", "named"] == "2 (100%)"
    assert tables.shares(answers).loc["dead (1)", "gradlab"] == "1/1"
    assert tables.confusion(answers).loc["dead", "dead"] == 1
    assert tables.mistakes(answers) == "  none"


def test_the_second_recorder_changes_nothing_and_agrees_with_gradlab():
    from tests.configs import settings, train

    overrides = {"model__norm": "layer", "clip": "norm", "train__steps": 6, "record__every": 5}
    _, (sink,) = train(settings(**overrides))
    seen = record(
        ["tracking=none", "model.norm=layer", "clip=norm", "train.steps=6", "record.every=5"]
    )
    assert seen.steps["loss"].tolist() == sink.steps("loss")
    for ours, theirs in (("delta_norm", "delta_norm"), ("weight_grad_norm", "grad_norm")):
        assert seen.seen[theirs].to_numpy() == pytest.approx(seen.layers[ours].to_numpy())
    ratio = seen.seen["update_norm"] / seen.seen["weight_norm"]
    assert ratio.to_numpy() == pytest.approx(seen.layers["update_ratio"].to_numpy(), rel=1e-5)


def test_a_wrong_label_is_noticed_but_not_named():
    (network,) = [each for each in networks.NETWORKS if each.name == "sigmoid_ten"]
    answer = answers.Answer(
        network,
        {
            "right": frozenset({"vanishing"}),
            "wrong": frozenset({"dead"}),
            "blind": frozenset(),
        },
    )
    assert [answer.named(tool) for tool in answer.given] == [True, False, False]
    assert [answer.noticed(tool) for tool in answer.given] == [True, True, False]
