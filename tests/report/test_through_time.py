"""The figure of the gradient over time steps, on runs with known decades."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab.recording.rows import LAYERS
from gradlab.report.by_setting import seed_note, seed_table, summarise_seeds
from gradlab.report.layer_profile import time_decades, time_title
from gradlab.report.reduce import STATE, reduce_folder
from gradlab.report.report_page import write_report
from gradlab.report.run_table import reader_columns, run_table
from tests.report.runs import write_run

T = 5


def recurrent(folder, per_step, cell=None, **config):
    """Write a run with two recurrent layers. The upper state gains `per_step` decades per step.

    If `cell` is not None, the layers have a cell, which gains `cell` decades per step.
    """
    write_run(folder, **config)
    file = folder / "layers.parquet"
    depth = pd.read_parquet(file)
    parts = [depth]
    states = [("time", "layers.0", 9.0), ("time", "layers.1", per_step)]
    cells = [] if cell is None else [("cell", "layers.0", 7.0), ("cell", "layers.1", cell)]
    for axis, module, slope in (*states, *cells):
        for step in sorted(set(depth["step"])):
            row = depth.iloc[[0] * T].assign(step=np.int32(step), axis=axis, module=module)
            row["position"] = np.arange(1, T + 1, dtype=np.int32)
            row[STATE] = 10.0 ** (slope * (T - row["position"]))
            parts.append(row)
    table = pa.Table.from_pandas(pd.concat(parts), schema=LAYERS, preserve_index=False)
    pq.write_table(table, file)


def test_the_recurrent_layer_nearest_the_loss_is_drawn(tmp_path):
    recurrent(tmp_path / "0", -2.0)
    recurrent(tmp_path / "1", 0.5)
    write_run(tmp_path / "2")  # without time
    recurrent(tmp_path / "3", -2.0, cell=-0.25)
    _, reduced = reduce_folder(tmp_path)
    gained = time_decades(reduced.time)
    assert gained.to_dict() == pytest.approx({"0": -8.0, "1": 2.0, "3": -1.0})
    assert list(reduced.time["position"]) == [*range(1, T + 1)] * 3
    assert list(reduced.runs["time_decades"]) == pytest.approx(
        [-8.0, 2.0, np.nan, -1.0], nan_ok=True
    )
    # The rows over time do not change the rows over depth.
    assert (reduced.layers.groupby("run").size() == 3).all()


@pytest.mark.parametrize(
    ("slopes", "change"),
    [
        (
            (-2.0, 0.5),
            "falls up to 8.0 decades (100-million-fold) and grows up to 2.0 decades (100-fold)",
        ),
        ((-2.0, -1.0), "falls up to 8.0 decades (100-million-fold)"),
        ((0.0, 0.001), "keeps its size"),
    ],
)
def test_the_title_states_the_largest_changes_over_time(tmp_path, slopes, change):
    for index, slope in enumerate(slopes):
        recurrent(tmp_path / str(index), slope, data__length=index)
    _, reduced = reduce_folder(tmp_path)
    assert time_title(reduced.time) == f"From last time step to first, the gradient {change}"


def test_the_table_of_runs_has_the_decades_over_time(tmp_path):
    for index, slope in enumerate((-2.0, -1.0)):
        recurrent(tmp_path / str(index), slope, seed=index)
    runs, reduced = reduce_folder(tmp_path, drawn=False)
    frame, keys = run_table(runs, reduced)
    assert list(reader_columns(frame, keys)["time_decades"]) == pytest.approx([-8.0, -4.0])
    summed = summarise_seeds(frame, keys)
    assert list(seed_table(summed, keys)["time_decades"]) == ["-6 [-8, -4]"]
    assert seed_note(summed).endswith("first time step to last")
    page = write_report(tmp_path).path.read_text(encoding="utf-8")
    assert "From last time step to first, the gradient falls up to 8.0 decades (100-m" in page


def test_a_report_has_the_figure_only_with_recurrent_layers(tmp_path):
    recurrent(tmp_path / "some" / "0", -2.0)
    write_run(tmp_path / "none" / "0")
    for name, expected in (("some", True), ("none", False)):
        page = write_report(tmp_path / name).path
        figure = page.parent / "figures" / "through_time.png"
        assert figure.exists() is expected
        assert ("dLoss/dh_t" in page.read_text(encoding="utf-8")) is expected
