"""One diagnosis of a run, however it is given; frames in any order, with something missing."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import gradlab
from gradlab.diagnosis.diagnose import LAYERS, diagnose
from gradlab.errors import StoreError
from gradlab.results.context import ALONE, attach
from gradlab.runs.run import Label, run
from gradlab.sinks.run_folder import Parquet
from tests.configs import settings
from tests.diagnosis.networks_to_watch import NETWORKS, batch_of
from tests.diagnosis.test_verdicts import frame

RISING = pd.DataFrame({"step": range(60), "loss": np.geomspace(1, 100, 60)})
SINKING = RISING.assign(loss=RISING["loss"][::-1].to_numpy())


def test_the_order_of_rows_changes_nothing():
    layers = frame([1e-5, 1e-2, 1.0])
    for steps in (RISING, SINKING):
        shuffled = [table.sample(frac=1, random_state=3) for table in (layers, steps)]
        assert diagnose(*shuffled) == diagnose(layers, steps)


def test_a_run_of_a_folder_is_diagnosed_by_its_steps():
    steps = pd.concat([RISING.assign(run="0"), SINKING.assign(run="1")])
    layers = frame([1.0, 1.0])
    assert [f.kind for f in diagnose(layers.assign(run="0"), steps)] == ["unstable"]
    assert not diagnose(layers.assign(run="1"), steps)


@pytest.mark.parametrize("column", LAYERS)
def test_a_missing_column_is_named(column):
    with pytest.raises(StoreError, match=rf"expected a column {column} in layers"):
        diagnose(frame([1.0, 1.0]).drop(columns=column))


def test_unread_columns_may_be_missing():
    assert not diagnose(frame([1.0, 1.0])[[*LAYERS]], pd.DataFrame({"step": range(9)}))


def test_rows_of_several_runs_without_their_names_are_refused():
    layers = frame([1.0, 1.0])
    with pytest.raises(StoreError, match=r"step=0, axis=depth, position=1.* a column run"):
        diagnose(pd.concat([layers, layers]))
    with pytest.raises(StoreError, match="one row in steps for step=0"):
        diagnose(layers, pd.concat([RISING, SINKING]))
    runs = pd.concat([layers.assign(run="0"), layers.assign(run="1")])
    with pytest.raises(StoreError, match="expected a column run in steps"):
        diagnose(runs, RISING)


def test_networks_of_different_size_are_not_seeds_of_one_setting():
    small, deep = frame([1.0, 1.0]), frame([1e-9, 1.0, 1.0])
    wide = small.assign(weight_count=2)
    for other in (deep, wide):
        with pytest.raises(StoreError, match=r"different size.*run == '0'"):
            diagnose(pd.concat([small.assign(run="0"), other.assign(run="1")]))


def test_the_public_name_can_be_called_more_than_once():
    layers = frame([1e-5, 1e-2, 1.0])
    assert gradlab.diagnose(layers) == gradlab.diagnose(layers) == diagnose(layers)


def as_json(findings):
    return json.loads(json.dumps(findings.as_dicts()))


SWEEP = {
    "healthy": {},
    "relu": {"model__depth": 8, "model__init": "kaiming_normal"},
    "vanishing": {"model__depth": 10, "model__activation": "sigmoid"},
    "saturated": {"model__activation": "tanh", "model__init": "normal", "optim__lr": 1e-6},
    "one_sided": {"model__activation": "relu", "model__init": "normal", "optim__lr": 1e-6},
    "underflow": {"train__dtype": "float16", "loss__scale": 1e-5, "optim__lr": 1e4},
    "below_eps": {"optim": "adam", "loss__scale": 1e-9},
    "clipped": {"clip": "norm", "clip__max_norm": 1e-3},
    "diverged": {"loss": "mse", "optim__lr": 1e4, "model__init": "kaiming_normal"},
    "strict": {"model__depth": 5, "diagnose__decades": 0.2},
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A folder with a run of each setting."""
    root = tmp_path_factory.mktemp("sweep")
    for name, overrides in SWEEP.items():
        run(
            settings(**{"train__steps": 20, "model__width": 16} | overrides),
            root / name,
            Label(name),
        )
    return root


def test_the_findings_of_a_run_are_those_of_its_run_json(sweep):
    frames = gradlab.load(sweep)
    verdicts = set()
    for name in SWEEP:
        info = json.loads((sweep / name / "run.json").read_text())
        rows = frames.layers
        for given in (
            sweep / name,
            str(sweep / name),
            gradlab.load(sweep / name),
            rows.query(f"run == '{name}'"),
            rows[rows["run"] == name],
        ):
            found = gradlab.diagnose(given)
            assert as_json(found) == info["findings"]
            assert found.verdict == info["verdict"]
        verdicts.add(info["verdict"])
    assert len(verdicts) >= 5


def test_different_settings_are_refused_with_a_run_to_choose(sweep):
    with pytest.raises(StoreError, match=r"given 10 runs that differ in .*; choose one: layers.q"):
        gradlab.diagnose(sweep)


def test_seeds_of_one_setting_are_pooled(tmp_path):
    for seed in range(3):
        one = settings(model__depth=10, model__activation="sigmoid", seed=seed, train__steps=5)
        run(one, tmp_path / str(seed), Label(str(seed)))
    (found, *_) = gradlab.diagnose(tmp_path)
    assert (found.kind, found.confidence) == ("vanishing", 1.0)
    assert gradlab.diagnose(gradlab.load(tmp_path)) == gradlab.diagnose(tmp_path)


def test_an_empty_frame_is_refused_with_a_run_that_exists(sweep):
    layers = gradlab.load(sweep).layers
    with pytest.raises(StoreError, match=r"empty frame; run ids are text, for example: lay"):
        gradlab.diagnose(layers.query("run == 0"))
    with pytest.raises(StoreError, match=r"empty frame; run ids are text: layers.query"):
        gradlab.diagnose(frame([1.0, 1.0]).iloc[:0])


def test_the_context_survives_pandas_and_a_parquet_file(sweep, tmp_path):
    layers = gradlab.load(sweep / "saturated").layers
    copies = [layers.copy(), layers[layers["step"] >= 0], layers.sort_values("position")]
    assert all(copied.attrs["gradlab"] is layers.attrs["gradlab"] for copied in copies)
    layers.to_parquet(tmp_path / "layers.parquet")
    back = pd.read_parquet(tmp_path / "layers.parquet", dtype_backend="pyarrow")
    assert back.attrs["gradlab"]["saturated"]["config"]["model.activation"] == "tanh"
    assert [f.kind for f in gradlab.diagnose(back)] == [f.kind for f in gradlab.diagnose(layers)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_findings_of_a_monitor_are_those_of_its_frame_and_of_its_folder(name, tmp_path):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    model = make()
    dtype = next(model.parameters()).dtype
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that no gradient reaches
        with gradlab.watch(model, optimizer, sinks=Parquet(tmp_path)) as monitor:
            for _ in range(6):
                optimizer.zero_grad()
                loss = model(batch_of(shape, dtype)).float().square().mean()
                loss.backward()
                optimizer.step()
            assert monitor.findings == gradlab.diagnose(monitor)
    info = json.loads((tmp_path / "run.json").read_text())
    found = monitor.findings
    assert as_json(found) == info["findings"]
    assert found.verdict == info["verdict"]
    for given in (monitor, monitor.frame(), tmp_path, gradlab.load(tmp_path)):
        assert gradlab.diagnose(given) == found == monitor.diagnose()
        assert gradlab.diagnose(given).verdict == found.verdict
    assert name != "vanishing sigmoid" or found.verdict == "vanishing"
    if name in ("skipped layers", "layer never called", "frozen layer", "residual", "mlp"):
        assert found == []


def test_one_sided_modules_of_the_context_are_not_saturated():
    layers = frame([1.0] * 3, saturated=[0.8, 0.8, 0.0])
    layers["module"] = ["a", "b", "c"] * 5
    assert diagnose(layers).verdict == "saturated"
    both = attach(layers.copy(), {ALONE: {"one_sided": ["a", "b"]}}, None)
    assert diagnose(both) == []
    one = attach(layers.copy(), {ALONE: {"one_sided": ["a"]}}, None)
    assert diagnose(one)[0].where == (2,)


def test_layers_that_another_optimiser_updates_are_not_starved():
    layers = frame([1.0] * 3, update_ratio=[0.0, 1e-3, 1e-3])
    assert diagnose(layers).verdict == "starved"
    others = layers.assign(weight_grad_norm=layers["weight_grad_norm"].mask(layers.position == 1))
    assert diagnose(others) == []
