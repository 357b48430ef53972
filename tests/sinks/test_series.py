"""Names of series are unique and valid in every service; null is not logged, NaN and inf are."""

import math
import posixpath
import re

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradlab
from gradlab import schema
from gradlab.errors import SettingsError
from gradlab.recording.rows import LAYERS, STEPS, Rows
from gradlab.sinks import Memory
from gradlab.sinks.series import LAYER_COLUMNS, check_prefix, scalars, series_name
from gradlab.training.stack import build_network
from tests.configs import settings, train

MODULES = st.text(max_size=300) | st.sampled_from(["", "a/b", "a b", "a_b", "../x", "é", "x" * 999])


def rows(layers: list[dict], **step: float | None) -> Rows:
    """Return one step and its layers; other columns are null."""
    keyed = [{"step": 0, **layer} for layer in layers]
    return Rows(
        pa.RecordBatch.from_pylist([{"step": 0, **step}], schema=STEPS),
        pa.RecordBatch.from_pylist(keyed, schema=LAYERS),
    )


def names(found: Rows, **kwargs) -> list[str]:
    return [name for _, values in scalars(found, **kwargs) for name in values]


@given(st.lists(MODULES, min_size=1, max_size=12, unique=True), st.sampled_from(["", "gradlab/"]))
def test_names_are_unique_and_valid_for_any_module_name(modules, prefix):
    layers = [
        {"axis": axis, "position": position, "module": module, "delta_norm": 1.0, "dead": 0.0}
        for axis in schema.AXES
        for position, module in enumerate(modules, 1)
    ]
    layers += [
        {"axis": "time", "position": 1, "module": module, "update_ratio": 1.0} for module in modules
    ]
    every = {name: 1.0 for name in schema.names(schema.STEPS) if name != "step"}
    found = names(rows(layers, **every), prefix=prefix, axes=schema.AXES)
    steps = len(schema.STEPS) - 2  # without step and seconds
    assert len(found) == len(set(found)) == steps + 8 * len(modules) + len(modules)
    folders = {posixpath.dirname(name) for name in found}
    assert not folders & set(found)  # MLflow writes each series to a file of that name
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9_./]+", name)  # a subset of what each service accepts
        assert posixpath.normpath(name) == name
        assert len(name) <= 250
        assert name.startswith(prefix)


def test_tensorboard_does_not_change_a_name():
    summary = pytest.importorskip("torch.utils.tensorboard").summary
    name = series_name("delta_norm", "depth", 3, 12, "blöcke/0 x")
    assert summary.scalar(name, 1.0).value[0].tag == name


def test_names_sort_by_position_in_a_deep_network():
    found = [series_name("dead", "depth", position, 120, "fc") for position in (120, 99, 7)]
    assert sorted(found) == ["dead/007_fc", "dead/099_fc", "dead/120_fc"]


def test_a_long_name_loses_its_beginning():
    name = series_name("dead", "depth", 1, 1, "module." * 50 + "fc1")
    assert re.fullmatch(r"dead/01_.*module\.fc1_[0-9a-f]{8}", name)


def test_nan_and_inf_are_logged_but_not_null():
    layer = {"axis": "depth", "position": 1, "module": "fc"}
    found = rows([{**layer, "delta_norm": math.inf, "dead": None}], loss=math.nan, accuracy=None)
    ((step, values),) = scalars(found)
    assert step == 0
    assert set(values) == {"loss", "delta_norm/01_fc"}
    assert math.isnan(values["loss"])
    assert values["delta_norm/01_fc"] == math.inf


def test_layers_are_logged_at_their_step():
    found = rows([{"axis": "depth", "position": 1, "module": "fc", "dead": 0.0, "step": 1}])
    steps = pa.RecordBatch.from_pylist([{"step": 0}, {"step": 1}], schema=STEPS)
    found = Rows(steps, found.layers)
    assert list(scalars(found)) == [(0, {}), (1, {"dead/01_fc": 0.0})]


def test_run_and_watch_give_the_same_names_to_the_same_network():
    config = settings(model__depth=3, train__steps=1, record__every=1)
    loop, (sink,) = train(config)
    in_run = {name for each in sink.rows for name in names(each)}
    network = build_network(config, loop.minibatches.dataset, torch.float32)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    memory = Memory()
    with gradlab.watch(network, optimizer, sinks=memory):
        network(loop.minibatches.dataset.x_train[:8].float()).square().mean().backward()
        optimizer.step()
    in_watch = {name for each in memory.rows for name in names(each)}
    layers = {name for name in in_run if "/" in name}
    assert len(layers) >= 4 * (len(LAYER_COLUMNS) - 2)
    # `run` names the layer, which contains a linear map; `watch` names the linear map.
    # In `watch`, the input has no gradient, and the last layer has no activation.
    unmeasured = {"weight_factor/01_layers.0"}
    unmeasured |= {f"{name}/04_layers.3" for name in ("act_factor", "saturated", "dead")}
    in_watch = {name.removesuffix(".linear") for name in in_watch if "/" in name}
    assert in_watch == layers - unmeasured


@pytest.mark.parametrize("prefix", ["a b", "/a", "a//", "../", "x" * 61, "é", "./"])
def test_a_prefix_is_refused_if_a_service_would_refuse_it(prefix):
    with pytest.raises(SettingsError, match="expected at most 60 letters"):
        check_prefix(prefix)
