"""The report against tables worked out by hand, and on folders of every condition."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gradlab.errors import StoreError
from gradlab.report import factors, heatmap, losses, profile, sentences, timeline
from gradlab.report.reduce import layer_means, lost, reduce
from gradlab.report.settings import label, varied
from gradlab.report.show import show
from gradlab.report.style import printed
from gradlab.report.table import table
from gradlab.report.write import write
from gradlab.store.load import Run, find
from tests.report.runs import write_run

FIGURES = {
    "decades",
    "profile",
    "factors",
    "factors_by_layer",
    "losses",
    "timeline",
    "profile_weights",
}


@pytest.fixture
def sweep(tmp_path) -> Path:
    """Two depths, two activations, two seeds; one diverged, one underflowed."""
    number = 0
    for depth in (2, 3):
        for activation, ratio in (("relu", 1.0), ("sigmoid", 0.01)):
            for seed in (0, 1):
                delta = ratio ** np.arange(depth + 1)[::-1] * (1 + seed)
                verdict = "vanishing" if ratio < 1 and depth > 2 else "healthy"
                config = {"model.depth": depth, "model.activation": activation}
                if number == 7:
                    delta = [0.0, 0.0, 1e-3, 1.0]
                write_run(
                    tmp_path / str(number),
                    delta,
                    verdict=verdict,
                    act=ratio,
                    seed=seed,
                    **config,
                )
                number += 1
    return tmp_path


def reduced(folder):
    found = find(folder)
    whole = reduce(found.runs)
    frame, keys = table(found.runs, whole)
    return frame, keys, whole


def test_tables_equal_those_worked_out_by_hand(sweep):
    frame, keys, whole = reduced(sweep)
    assert keys == ["model.depth", "model.activation"]
    assert frame["decades"].tolist() == pytest.approx([0, 0, -4, -4, 0, 0, -6, -np.inf])
    assert frame["final_loss"].tolist() == [1.0] * 8
    pivot = heatmap.pivot(frame, keys)
    assert pivot.loc["relu", 2] == 0
    assert pivot.loc["sigmoid", 2] == pytest.approx(-4)
    assert pivot.loc["sigmoid", 3] == -np.inf  # half of its seeds are exact zeros
    layers = whole.layers.set_index(["run", "position"])
    assert layers.loc[("6", 1), "delta_norm"] == pytest.approx(-6)
    assert layers.loc[("7", 1), "delta_norm_zero"] == 1
    assert np.isnan(layers.loc[("7", 1), "delta_norm"])
    by_setting = factors.per_layer(whole.layers.merge(frame[["run", *keys]], on="run"), keys)
    taken = by_setting.set_index(keys)["act_factor"]
    assert taken[(3, "sigmoid")] == pytest.approx(-2)
    assert taken[(3, "relu")] == pytest.approx(0)


def test_geometric_means_leave_zeros_and_infinities_apart():
    norms = [1e-4, 1e-2, 0.0, np.inf, np.nan]
    count = len(norms)
    record = {"step": range(count), "axis": "depth", "position": 1, "delta_norm": norms}
    others = dict.fromkeys(("weight_grad_norm", "act_factor", "weight_factor"), 1.0)
    (row,) = layer_means(pd.DataFrame({**record, **others, "norm_factor": 1.0})).to_dict("records")
    assert row["delta_norm"] == pytest.approx(-3)
    assert row["delta_norm_zero"] == pytest.approx(0.2)
    assert row["delta_norm_inf"] == pytest.approx(0.4)


def test_a_factor_on_the_loss_changes_no_decades(tmp_path):
    for name, scale in (("a", 1.0), ("b", 1e-9)):
        write_run(tmp_path / name, np.array([1e-5, 1e-2, 1.0]) * scale)
    values = [lost(run.layers()) for run in find(tmp_path).runs]
    assert values == pytest.approx([-5, -5])


def test_zeros_and_infinities_are_drawn(sweep):
    write_run(sweep / "8", [np.inf] * 3, verdict="diverged", **{"model.depth": 2})
    frame, keys, whole = reduced(sweep)
    layers = whole.layers.merge(frame[["run", *keys]], on="run")
    with printed():
        figure = profile.draw(layers, keys, "delta_norm", "title")
        drawn = [line for ax in figure.axes for line in ax.lines]
        zeros = [line for line in drawn if line.get_gid() == "zero" and len(line.get_xdata())]
        infinite = [line for line in drawn if line.get_gid() == "inf" and len(line.get_xdata())]
        assert [list(line.get_xdata()) for line in zeros] == [[1, 2]]
        assert [list(line.get_xdata()) for line in infinite] == [[1, 2, 3]]
        for line in (*zeros, *infinite):
            low, high = line.axes.get_ylim()
            assert all(low < y < high for y in line.get_ydata())
        told = {text.get_text() for ax in figure.axes for text in ax.texts}
        assert {"exactly 0", "not finite"} <= told
        cells = heatmap.draw(heatmap.pivot(frame, keys), "title").axes[0]
        assert "0" in {patch.get_gid() for patch in cells.patches}
        assert "0" in {text.get_text() for text in cells.texts}
        record = find(sweep).runs[7].layers()
        (panel, *_) = timeline.draw([("one", record)], "title").axes
        assert "exactly 0" in {c.get_gid() for c in panel.collections}


def test_a_band_over_seeds_is_their_range(sweep):
    frame, keys, whole = reduced(sweep)
    layers = whole.layers.merge(frame[["run", *keys]], on="run")
    bands = profile.over_seeds(layers, keys, "delta_norm").set_index([*keys, "position"])
    row = bands.loc[(2, "relu", 1)]
    assert (row["low"], row["high"], row["runs"]) == (0, pytest.approx(np.log10(2)), 2)
    assert row["mean"] == pytest.approx(np.log10(2) / 2)


def test_titles_state_what_the_tables_say(sweep):
    frame, keys, _ = reduced(sweep)
    assert sentences.headline(frame) == "2 of 8 networks are sick: 2 vanishing"
    assert sentences.extremes(frame, keys) == (
        "The error signal loses everything (depth 3, sigmoid)"
    )
    assert sentences.reach(frame, keys) == (
        "The error signal stays within 3 decades over depth in 2 of 4 at depth 2, 2 of 4 at depth 3"
    )
    assert sentences.onset(frame).startswith("2 of 2 sick networks were sick at initialisation")
    assert "activation: the verdict depends on it in 2 of 4 settings" in "; ".join(
        sentences.influence(frame, keys)
    )


def test_the_report_has_every_figure_and_names_no_network(sweep):
    report = write(sweep)
    folder = sweep / "report"
    assert report.runs == 8
    assert report.damaged == []
    for kind in ("png", "svg"):
        assert {f.stem for f in (folder / "figures").glob(f"*.{kind}")} == FIGURES
    page = report.path.read_text()
    assert page.count("data:image/png;base64,") == len(FIGURES)
    for outside in ("http://", "https://", "<link", 'src="figures'):
        assert outside not in page
    runs = pd.read_csv(folder / "tables" / "runs.csv")
    assert len(runs) == 8
    assert pd.read_csv(folder / "tables" / "profiles.csv").shape[0] == 4 * 3 + 4 * 4
    assert "2 of 8 networks are sick" in page
    assert "made to be vanishing" in page


def test_names_of_settings_are_escaped(tmp_path):
    for index, name in enumerate(("<script>alert(1)</script>", "b")):
        write_run(tmp_path / str(index), **{"model.activation": name})
    page = write(tmp_path).path.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_second_report_replaces_the_first(sweep):
    first = write(sweep).runs
    assert write(sweep).runs == first


@pytest.mark.parametrize(
    "run",
    [
        {"delta": [0.3]},
        {"steps": 0, "verdict": None, "status": "running", "losses": []},
        {"verdict": "diverged", "status": "diverged", "delta": [np.nan] * 3, "losses": [np.inf]},
        {"verdict": "dead", "delta": [0.0, 0.0, 0.0]},
        {"verdict": "exploding", "delta": [np.inf, 1e30, 1.0], "losses": [1.0]},
        {"losses": [-3.0, 0.0, 1.0]},
    ],
)
def test_one_run_of_any_condition_is_reported(tmp_path, run):
    write_run(tmp_path / "run", **run)
    assert write(tmp_path).runs == 1
    drawn = {file.stem for file in (tmp_path / "report" / "figures").glob("*.png")}
    assert ("losses" in drawn) == (run.get("steps") != 0)


def test_many_keys_and_missing_ones(tmp_path):
    for index in range(12):
        config = {"model.depth": 2 + index % 2, "clip": ("none", "norm")[index % 2]}
        config |= {"model.init": f"init{index % 3}", "optim.lr": 10.0**-index, "loss": "mse"}
        if index % 2:
            config["clip.max_norm"] = 1.0
        write_run(tmp_path / str(index), seed=index, **config)
    write_run(tmp_path / "x", **{"model.depth": 2})
    _, keys, _ = reduced(tmp_path)
    assert "clip.max_norm" not in keys
    assert {"model.depth", "clip", "model.init", "optim.lr"} <= set(keys)
    assert write(tmp_path).runs == 13


def test_varied_ignores_seeds_and_what_one_choice_alone_has():
    configs = pd.DataFrame(
        {
            "seed": [0, 1, 2],
            "clip": ["none", "norm", "norm"],
            "clip.max_norm": [None, 1.0, 1.0],
            "model.depth": [3, 3, 3],
        }
    )
    assert varied(configs) == ["clip"]
    assert varied(configs.assign(**{"clip.max_norm": [None, 1.0, 2.0]})) == [
        "clip",
        "clip.max_norm",
    ]
    assert label(configs.iloc[1], ["clip"]) == "clip norm"


def test_a_damaged_run_is_named_and_the_others_reported(sweep):
    for name in ("2/layers.parquet", "3/steps.parquet"):
        file = sweep / name
        file.write_bytes(file.read_bytes()[:50])
    (sweep / "4" / "run.json").write_text("{")
    (sweep / "5" / "steps.parquet").unlink()
    report = write(sweep)
    assert report.runs == 4
    assert len(report.damaged) == 4
    page = report.path.read_text()
    for line in (
        "2/layers.parquet is damaged",
        "4/run.json is damaged",
        "5/steps.parquet is missing",
    ):
        assert line in page


def test_a_run_that_failed_before_its_first_record_is_listed_and_not_drawn(sweep):
    write_run(sweep / "8", steps=0, verdict=None, status="failed", losses=[])
    report = write(sweep)
    assert report.runs == 9
    assert "Not finished" in report.path.read_text()


def test_it_reads_columns_and_one_run_at_a_time(sweep, monkeypatch):
    asked: list[object] = []
    read = Run.layers

    def watched(self, columns=None):
        asked.append(columns)
        return read(self, columns)

    monkeypatch.setattr(Run, "layers", watched)
    write(sweep)
    assert all(columns is not None for columns in asked)
    assert all(set(columns) <= {"step", "axis", "position", *layer_columns()} for columns in asked)


def layer_columns():
    return {"delta_norm", "weight_grad_norm", "act_factor", "weight_factor", "norm_factor"}


def test_a_page_that_cannot_be_written_is_one_line(sweep):
    (sweep / "report").write_text("in the way")
    with pytest.raises(StoreError, match="report cannot be written"):
        write(sweep)


def test_show_lists_every_run_and_cuts_no_line(sweep, capsys):
    (sweep / "0" / "run.json").write_text("{")
    (damaged,) = show(sweep, Console(width=40))
    assert "run.json is damaged" in damaged
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 7 + 1
    assert lines[-1] == "2 of 7 networks are sick: 2 vanishing"
    assert "sigmoid" in lines[2]


def test_the_users_matplotlib_is_left_alone(sweep):
    before = dict(mpl.rcParams)
    write(sweep)
    assert dict(mpl.rcParams) == before


def test_it_does_without_torch():
    check = "import gradlab.report.write, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_losses_of_every_verdict_have_a_panel(sweep):
    frame, _, whole = reduced(sweep)
    with printed():
        figure = losses.draw(whole.losses, frame, "title")
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert titles == ["healthy: 6 runs", "vanishing: 2 runs"]
