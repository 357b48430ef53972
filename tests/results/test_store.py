"""Files of a run: their metadata, reading a folder of runs, and damaged files."""

import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab import schema
from gradlab.diagnosis.finding import Finding
from gradlab.errors import StoreError
from gradlab.recording.rows import STEPS
from gradlab.results.load import find, load
from gradlab.results.parquet import Table, write_json
from gradlab.results.run_schema import FindingEntries
from gradlab.runs.run import Label, run_info
from gradlab.sinks import Parquet
from tests.configs import settings, train
from tests.report.runs import write_run


@pytest.fixture
def run(tmp_path):
    configured = settings(data="diabetes", loss="mse", model__depth=2, train__steps=5)
    loop, (sink,) = train(configured)
    folder = Parquet(tmp_path / "run")
    folder.open(
        run_info(configured, tmp_path / "run", Label("run"), loop.minibatches.dataset, members=1)
    )
    for rows in sink.rows:
        folder.write(rows)
    folder.finish({"status": "completed", "slope": float("nan")})
    return tmp_path / "run"


@pytest.mark.parametrize(("part", "columns"), [("layers", schema.LAYERS), ("steps", schema.STEPS)])
def test_a_parquet_file_contains_units_formulas_and_meanings(run, part, columns):
    read = pq.read_schema(run / f"{part}.parquet")
    assert read.names == [column.name for column in columns]
    assert read.metadata[b"gradlab_schema"] == str(schema.VERSION).encode()
    for column in columns:
        field = read.field(column.name)
        assert {"float64": "double"}.get(column.dtype, column.dtype) == str(field.type)
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"formula"].decode() == column.formula
        assert field.metadata[b"meaning"].decode() == column.meaning


def test_accuracy_is_null_in_regression(run):
    assert pq.read_table(run / "steps.parquet")["accuracy"].null_count == 5


def test_pandas_reads_the_file_directly(run):
    layers = pd.read_parquet(run / "layers.parquet")
    assert layers["module"].unique().tolist() == ["layers.0", "layers.1", "layers.2"]
    assert layers["axis"].unique().tolist() == ["depth"]


def test_run_json_has_the_configuration_and_null_for_nan(run):
    info = json.loads((run / "run.json").read_text())
    assert info["slope"] is None
    assert info["config"]["train.steps"] == 5
    assert (
        info["config_hash"]
        == settings(data="diabetes", loss="mse", model__depth=2, train__steps=5).config_hash
    )
    assert not list(run.glob(".*tmp"))


def test_a_folder_with_a_run_is_refused(run):
    with pytest.raises(StoreError, match="already holds a run"):
        Parquet(run)


def test_a_growing_table_is_readable_and_stores_infinities(tmp_path):
    table = Table(tmp_path / "steps.parquet", STEPS, interval=1e9)
    for step in range(3):
        columns = {column.name: [np.inf] for column in schema.STEPS}
        table.append(pa.RecordBatch.from_pydict({**columns, "step": [step]}, schema=STEPS))
        read = pq.read_table(tmp_path / "steps.parquet")
        assert len(read) == 1  # the first append is written at once, the others after the interval
    table.flush()
    read = pq.read_table(tmp_path / "steps.parquet").to_pandas()
    assert read["step"].tolist() == [0, 1, 2]
    assert np.isinf(read["loss"]).all()


def test_after_a_failed_write_the_old_file_is_unchanged(tmp_path):
    file = tmp_path / "run.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["run.json"]


def test_runs_are_sorted_by_number(tmp_path):
    for number in (10, 2, 1):
        write_run(tmp_path / str(number), seed=number)
    assert [run.name for run in find(tmp_path).runs] == ["1", "2", "10"]
    frames = load(tmp_path)
    assert frames.runs["seed"].tolist() == [1, 2, 10]
    assert frames.layers["run"].unique().tolist() == ["1", "2", "10"]
    assert len(frames.steps) == 9


def test_an_error_names_the_file_if_every_run_is_damaged(tmp_path):
    write_run(tmp_path / "a")
    (tmp_path / "a" / "layers.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"no run under .* can be read: .*layers.parquet"):
        load(tmp_path)


@pytest.mark.parametrize("version", [schema.VERSION - 1, schema.VERSION + 1])
def test_a_run_of_another_schema_is_refused_and_both_versions_are_named(tmp_path, version):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    info = json.loads((tmp_path / "b" / "run.json").read_text())
    write_json(tmp_path / "b" / "run.json", {**info, "schema": version})
    (line,) = find(tmp_path).damaged
    assert (
        f"has schema {version}, but this version of gradlab reads schema {schema.VERSION}" in line
    )
    with pytest.raises(StoreError, match=f"schema {version}.*schema {schema.VERSION}") as error:
        load(tmp_path / "b")
    assert "\n" not in str(error.value)


def test_all_keys_of_a_finding_are_checked():
    assert [f.name for f in fields(Finding)] == [*FindingEntries.model_fields]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"config": 3}, "expected config to be a valid dictionary, but it is 3"),
        ({"status": "done"}, "expected status to be running, completed"),
        ({"verdict": "fine"}, "expected verdict to be healthy, too_early, overflow"),
        ({"findings": None}, "expected findings to be a valid list, but it is None"),
        ({"findings": [{}]}, "findings.0.kind is missing"),
        ({"findings": [3]}, "expected findings.0 to be a valid dictionary, but it is 3"),
        ({"test": 0.5}, "expected test to be a valid dictionary, but it is 0.5"),
        ({"seed": "x"}, "expected seed to be a valid integer, but it is 'x'"),
        ({"first_nonfinite": {"step": 1}}, "first_nonfinite.where is missing"),
    ],
)
def test_a_run_with_wrong_content_is_left_out_and_named(tmp_path, content, message):
    for name in "ab":
        write_run(tmp_path / name)
    info = json.loads((tmp_path / "b" / "run.json").read_text())
    write_json(tmp_path / "b" / "run.json", {**info, **content})
    (run,), (line,) = find(tmp_path)
    assert run.name == "a"
    assert line.startswith(f"{tmp_path}/b/run.json is damaged: {message}")


def test_an_incomplete_run_json_is_named(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    write_json(tmp_path / "b" / "run.json", {"schema": schema.VERSION, "config": 3})
    assert "b/run.json is damaged" in find(tmp_path).damaged[0]


@pytest.mark.parametrize("part", ["layers", "steps"])
def test_a_column_of_another_type_is_named(tmp_path, part):
    for name in "ab":
        write_run(tmp_path / name)
    file = tmp_path / "b" / f"{part}.parquet"
    whole = pq.read_table(file)
    index = whole.column_names.index("step")
    pq.write_table(whole.set_column(index, "step", whole["step"].cast("string")), file)
    assert f"{part}.parquet is damaged: expected step to be of type int32" in find(tmp_path)[1][0]


def damage_pages(file):
    """Overwrite the pages of a Parquet file, but not its footer."""
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 200 + content[204:])


def test_load_leaves_out_and_names_a_run_whose_pages_are_damaged(tmp_path):
    for name in "abc":
        write_run(tmp_path / name)
    damage_pages(tmp_path / "b" / "layers.parquet")
    (tmp_path / "c" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="left out") as warned:
        frames = load(tmp_path)
    for frame in frames:
        assert frame["run"].unique().tolist() == ["a"]
    messages = sorted(str(w.message).split(" is damaged")[0] for w in warned)
    assert messages == [f"left out: {tmp_path}/{f}" for f in ("b/layers.parquet", "c/run.json")]
    assert {w.filename for w in warned} == {__file__}
    damage_pages(tmp_path / "a" / "steps.parquet")
    with pytest.raises(StoreError, match="no run under"):
        load(tmp_path)


def test_groupby_accepts_lists_of_the_configuration(tmp_path):
    for number, betas in enumerate(([0.9, 0.99], [0.8, 0.9], [0.9, 0.99])):
        write_run(tmp_path / str(number), **{"optim.betas": betas})
    counts = load(tmp_path).runs.groupby("optim.betas")["run"].count()
    assert counts.to_dict() == {"[0.8, 0.9]": 1, "[0.9, 0.99]": 2}


def test_a_configuration_key_named_run_does_not_rename_the_run(tmp_path):
    write_run(tmp_path / "a", run="x")
    assert load(tmp_path).runs["run"].tolist() == ["a"]


def test_runs_have_the_final_and_the_best_loss(tmp_path):
    write_run(tmp_path / "0", losses=(2.0, 0.5, 1.0), lr=0.1)
    write_run(tmp_path / "1", losses=(3.0, np.nan), status="diverged", verdict="diverged", lr=1.0)
    runs = load(tmp_path).runs.set_index("run")
    assert runs.index.tolist() == ["0", "1"]
    assert runs["status"].tolist() == ["completed", "diverged"]
    assert runs["lr"].tolist() == [0.1, 1.0]
    np.testing.assert_array_equal(runs["final_loss"], [1.0, np.nan])
    assert runs["best_loss"].tolist() == [0.5, 3.0]
    assert {"final_accuracy", "best_accuracy", "test_loss", "test_accuracy"} <= set(runs)
