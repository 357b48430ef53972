"""The report, compared with tables computed by hand, and on damaged and unusual folders."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gradlab.diagnosis.grid import Grid, gained
from gradlab.errors import StoreError
from gradlab.pages.style import print_style
from gradlab.report.by_setting import (
    count_typical,
    decades_by_setting,
    pivot_decades,
    typical_decades,
)
from gradlab.report.factor_figures import factors_by_setting
from gradlab.report.heatmap import draw_heatmap
from gradlab.report.layer_profile import draw_profile, profile_over_seeds
from gradlab.report.reduce import layer_means, reduce_runs
from gradlab.report.report_page import write_report
from gradlab.report.run_table import run_table, show_runs
from gradlab.report.titles import extremes_title, headline, key_influence, onset_title, reach_title
from gradlab.report.training_curves import draw_losses, draw_timeline
from gradlab.results.load import Run, find
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
    """Two depths, two activations, two seeds; one run underflows."""
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
    folder_content = find(folder)
    whole = reduce_runs(folder_content.runs)
    frame, keys = run_table(folder_content.runs, whole)
    return frame, keys, whole


def test_tables_equal_numbers_computed_by_hand(sweep):
    frame, keys, whole = reduced(sweep)
    assert keys == ["model.depth", "model.activation"]
    assert frame["decades"].tolist() == pytest.approx([0, 0, -4, -4, 0, 0, -6, -np.inf])
    assert frame["final_loss"].tolist() == [1.0] * 8
    pivot = pivot_decades(frame, keys).decades
    assert pivot.loc["relu", 2] == 0
    assert pivot.loc["sigmoid", 2] == pytest.approx(-4)
    assert pivot.loc["sigmoid", 3] == -np.inf  # half of the seeds are exactly 0
    layers = whole.layers.set_index(["run", "position"])
    assert layers.loc[("6", 1), "delta_norm"] == pytest.approx(-6)
    assert layers.loc[("7", 1), "delta_norm_zero"] == 1
    assert np.isnan(layers.loc[("7", 1), "delta_norm"])
    by_setting = factors_by_setting(whole.layers.merge(frame[["run", *keys]], on="run"), keys)
    taken = by_setting.set_index(keys)["act_factor"]
    assert taken[(3, "sigmoid")] == pytest.approx(-2)
    assert taken[(3, "relu")] == pytest.approx(0)


def test_geometric_means_count_zeros_and_infinities_separately():
    norms = [1e-4, 1e-2, 0.0, np.inf, np.nan]
    count = len(norms)
    record = {"step": range(count), "axis": "depth", "position": 1, "delta_norm": norms}
    others = dict.fromkeys(("weight_grad_norm", "act_factor", "weight_factor"), 1.0)
    (row,) = layer_means(pd.DataFrame({**record, **others, "norm_factor": 1.0})).to_dict("records")
    assert row["delta_norm"] == pytest.approx(-3)
    assert row["delta_norm_zero"] == pytest.approx(0.2)
    assert row["delta_norm_inf"] == pytest.approx(0.4)


def test_scaling_the_loss_does_not_change_decades(tmp_path):
    for name, scale in (("a", 1.0), ("b", 1e-9)):
        write_run(tmp_path / name, np.array([1e-5, 1e-2, 1.0]) * scale)
    values = [gained(Grid(run.layers())) for run in find(tmp_path).runs]
    assert values == pytest.approx([-5, -5])


def test_zeros_and_infinities_are_drawn(sweep):
    write_run(sweep / "8", [np.inf] * 3, verdict="diverged", **{"model.depth": 2})
    frame, keys, whole = reduced(sweep)
    layers = whole.layers.merge(frame[["run", *keys]], on="run")
    with print_style():
        figure = draw_profile(layers, keys, "delta_norm", "2 seeds", "title")
        drawn = [line for ax in figure.axes for line in ax.lines]
        zeros = [line for line in drawn if line.get_gid() == "zero" and len(line.get_xdata())]
        infinite = [line for line in drawn if line.get_gid() == "inf" and len(line.get_xdata())]
        assert [list(line.get_xdata()) for line in zeros] == [[1, 2]]
        assert [list(line.get_xdata()) for line in infinite] == [[1, 2, 3]]
        for line in (*zeros, *infinite):
            low, high = line.axes.get_ylim()
            assert all(low < y < high for y in line.get_ydata())
        labels = {text.get_text() for ax in figure.axes for text in ax.get_yticklabels()}
        assert {"exactly 0", "not finite"} <= labels
        grid = draw_heatmap(pivot_decades(frame, keys), "2 seeds", "title").axes[0]
        assert "0" in {patch.get_gid() for patch in grid.patches}
        assert "0 (1/2)" in {text.get_text() for text in grid.texts}
        record = find(sweep).runs[7].layers()
        (panel, *_) = draw_timeline([("one", record, 3)], "title").axes
        assert "exactly 0" in {c.get_gid() for c in panel.collections}


def test_a_band_is_the_range_over_seeds(sweep):
    frame, keys, whole = reduced(sweep)
    layers = whole.layers.merge(frame[["run", *keys]], on="run")
    bands = profile_over_seeds(layers, keys, "delta_norm").set_index([*keys, "position"])
    row = bands.loc[(2, "relu", 1)]
    assert (row["low"], row["high"], row["runs"]) == (0, pytest.approx(np.log10(2)), 2)
    assert row["mean"] == pytest.approx(np.log10(2) / 2)


def test_titles_agree_with_the_tables(sweep):
    frame, keys, _ = reduced(sweep)
    assert headline(frame) == "2 of 8 runs are not healthy: 2 vanishing"
    assert extremes_title(decades_by_setting(frame, keys), keys) == (
        "From last layer to first, the error signal falls to exactly 0 with depth 3, sigmoid"
    )
    assert reach_title(frame, keys) == (
        "Over depth, the error signal changes at most 3.0 decades (1,000-fold) in "
        "2 of 4 runs with depth 2, 2 of 4 runs with depth 3"
    )
    assert onset_title(frame) == "2 of 8 runs are not healthy: 2 since initialisation"
    assert "activation changes the verdict in 2 of 4 combinations of the other keys" in "; ".join(
        key_influence(frame, keys)
    )


def test_the_page_contains_every_figure_and_needs_no_network(sweep):
    report = write_report(sweep)
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
    assert "2 of 8 runs are not healthy" in page
    assert "made to be vanishing" in page


def test_names_of_settings_are_escaped(tmp_path):
    for index, name in enumerate(("<script>alert(1)</script>", "b")):
        write_run(tmp_path / str(index), **{"model.activation": name})
    page = write_report(tmp_path).path.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_second_report_replaces_the_first(sweep):
    first = write_report(sweep).runs
    assert write_report(sweep).runs == first


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
def test_a_single_unusual_run_is_reported(tmp_path, run):
    write_run(tmp_path / "run", **run)
    assert write_report(tmp_path).runs == 1
    drawn = {file.stem for file in (tmp_path / "report" / "figures").glob("*.png")}
    assert ("losses" in drawn) == (run.get("steps") != 0)


def test_many_swept_keys_and_missing_keys(tmp_path):
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
    assert write_report(tmp_path).runs == 13


def uneven_sweep(folder):
    """Write runs in which each depth has other initialisations; two runs are never finite."""
    runs = ((2, "a", 1e-2), (3, "b", 1e-3), (3, "b", np.nan), (4, "a", 1.0), (4, "c", np.nan))
    for number, (depth, init, first) in enumerate(runs):
        config = {"model.depth": depth, "model.init": init}
        write_run(folder / str(number), [first, first and 1.0], seed=number, **config)
    return reduced(folder)[:2]


def test_a_setting_that_was_not_run_is_a_blank_cell(tmp_path):
    frame, keys = uneven_sweep(tmp_path)
    with print_style():
        figure = draw_heatmap(pivot_decades(frame, keys), "2 seeds", "title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["-2.0", "", "+0.0", "", "-3.0 (1/2)", "", "", "", "n/a"]
    assert [patch.get_gid() for patch in figure.axes[0].patches] == ["n/a"]


def test_the_grid_has_no_rows_and_columns_without_a_run(tmp_path):
    frame, keys = uneven_sweep(tmp_path)
    keys = [*keys, "model.width", "clip"]
    frame = frame.assign(**{"model.width": range(5), "clip": ["x", "y", "y", "y", "y"]})
    decades, _, of = pivot_decades(frame, keys)
    assert decades.shape == (5, 3)
    assert list(decades.columns) == [(2, "x"), (3, "y"), (4, "y")]
    assert of.to_numpy().sum() == 5


def test_a_mean_has_the_number_of_its_runs(tmp_path):
    frame, keys = uneven_sweep(tmp_path)
    table = decades_by_setting(frame, keys)
    assert table["runs"].tolist() == [1, 1, 1, 0]
    assert table["of"].tolist() == [1, 2, 1, 1]
    edges = pd.Series([-np.inf, -np.inf, -1.0, np.nan])
    assert (typical_decades(edges), count_typical(edges)) == (-np.inf, 2)
    assert count_typical(edges[1:].reset_index(drop=True)) == 1


def test_a_damaged_run_is_named_and_other_runs_are_reported(sweep):
    for name in ("2/layers.parquet", "3/steps.parquet"):
        file = sweep / name
        file.write_bytes(file.read_bytes()[:50])
    (sweep / "4" / "run.json").write_text("{")
    (sweep / "5" / "steps.parquet").unlink()
    report = write_report(sweep)
    assert report.runs == 4
    assert len(report.damaged) == 4
    page = report.path.read_text()
    for line in (
        "2/layers.parquet is damaged",
        "4/run.json is damaged",
        "5/steps.parquet is missing",
    ):
        assert line in page


def test_a_run_that_failed_before_its_first_step_is_listed(sweep):
    write_run(sweep / "8", steps=0, verdict=None, status="failed", losses=[])
    report = write_report(sweep)
    assert report.runs == 9
    assert "Unfinished runs" in report.path.read_text()


def test_only_needed_columns_are_read(sweep, monkeypatch):
    requested: list[object] = []
    read = Run.layers

    def watched(self, columns=None):
        requested.append(columns)
        return read(self, columns)

    monkeypatch.setattr(Run, "layers", watched)
    write_report(sweep)
    assert all(columns is not None for columns in requested)
    assert all(
        set(columns) <= {"step", "axis", "position", *layer_columns()} for columns in requested
    )


def layer_columns():
    factors = {"act_factor", "weight_factor", "norm_factor"}
    return {"delta_norm", "weight_grad_norm", "preact_std", *factors}


def test_a_page_that_cannot_be_written_is_a_store_error(sweep):
    (sweep / "report").write_text("in the way")
    with pytest.raises(StoreError, match="report cannot be written"):
        write_report(sweep)


def test_show_prints_every_run_in_an_uncut_line(sweep, capsys):
    (sweep / "0" / "run.json").write_text("{")
    (damaged,) = show_runs(sweep, Console(width=40))
    assert "run.json is damaged" in damaged
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 7 + 1
    assert lines[-1] == "2 of 7 runs are not healthy: 2 vanishing"
    assert "sigmoid" in lines[2]


def test_runs_without_a_verdict_are_shown(tmp_path, capsys):
    write_run(tmp_path / "0", verdict=None, status="running")
    show_runs(tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "The run has no verdict yet"


def test_a_folder_with_only_damaged_runs_is_a_store_error(tmp_path):
    write_run(tmp_path / "0")
    file = tmp_path / "0" / "layers.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 200 + content[204:])
    for command in (show_runs, write_report):
        with pytest.raises(StoreError, match=r"no run under .* can be read: .*layers.parquet"):
            command(tmp_path)


def test_the_page_makes_no_false_claim_about_runs_that_diverge_immediately(tmp_path):
    for number in range(2):
        write_run(
            tmp_path / str(number),
            [np.nan] * 3,
            verdict="diverged",
            status="diverged",
            losses=[np.inf],
            seed=number,
        )
    page = write_report(tmp_path).path.read_text()
    for claim in ("keeps its size,", "error signal changes at most 1", "Median final loss"):
        assert claim not in page
    assert "No run ends with a finite loss" in page


def test_matplotlib_settings_of_the_user_are_unchanged(sweep):
    before = dict(mpl.rcParams)
    write_report(sweep)
    assert dict(mpl.rcParams) == before


def test_the_report_does_not_import_torch():
    check = "import gradlab.report.report_page, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_losses_of_each_verdict_have_a_panel(sweep):
    frame, keys, whole = reduced(sweep)
    with print_style():
        figure = draw_losses(whole.losses, frame, keys, "title")
    heads = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert heads == ["healthy: 6 runs of 3 settings", "vanishing: 2 runs of 1 setting"]
