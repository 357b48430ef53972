"""Figures in print: labels are not cut, levels differ without colour, ticks are at real layers."""

from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from gradlab import schema
from gradlab.pages.style import balance_lines, print_style
from gradlab.report.by_setting import pivot_decades
from gradlab.report.factor_figures import (
    draw_factor_plane,
    draw_factors_by_layer,
    factors_by_setting,
)
from gradlab.report.heatmap import draw_heatmap
from gradlab.report.layer_profile import Edges, draw_profile
from gradlab.report.reduce import layer_means
from gradlab.report.training_curves import draw_losses, draw_timeline, step_borders
from gradlab.results.nullable import from_arrow
from tests.report.runs import write_run
from tests.report.test_report_page import reduced


@pytest.fixture
def inits(tmp_path):
    """Three initialisations and two clips at one depth; some runs are never finite."""
    for number, (init, clip) in enumerate(product("abc", ("none", "norm"))):
        delta = np.array([1e-3, 1e-2, 1.0]) if clip == "norm" or init == "a" else [np.nan] * 3
        config = {"model.depth": 2, "model.activation": "relu", "model.init": init, "clip": clip}
        write_run(tmp_path / str(number), delta, act=0.1 * (number + 1), **config)
    frame, keys, whole = reduced(tmp_path)
    every = ["run", "model.depth", "model.activation", *keys]
    return frame, whole.layers.merge(frame[every], on="run")


def cut_texts(figure):
    """Return the texts that are not completely inside the figure."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    texts = []
    for text in figure.findobj(lambda a: hasattr(a, "get_text") and a.get_text()):
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        if text.get_visible() and not inside:
            texts.append(text.get_text())
    return texts


@pytest.mark.parametrize("column", ["delta_norm", "weight_grad_norm"])
def test_labels_of_a_figure_with_one_row_are_not_cut(inits, column):
    frame, layers = inits
    with print_style():
        assert not cut_texts(draw_profile(layers, ["model.init"], column, "2 seeds", "title"))
        assert not cut_texts(draw_heatmap(pivot_decades(frame, ["model.init"]), "2 seeds", "title"))


def marker_styles(figure):
    """Return marker and fill of each entry of the legend, which remain visible in grey."""
    (legend,) = figure.legends
    handles = [h for h in legend.legend_handles if h.get_marker() not in (None, "None")]
    return {
        text.get_text(): (handle.get_marker(), handle.get_fillstyle())
        for text, handle in zip(legend.texts, handles, strict=True)
    }


def test_levels_differ_without_colour(inits):
    _, layers = inits
    with print_style():
        drawn = draw_profile(
            layers, ["clip", "model.activation", "model.init"], "delta_norm", "2 seeds", "t"
        )
        assert len(set(marker_styles(drawn).values())) == 3
        both = layers.assign(**{"model.activation": layers["model.init"].map(str.upper)})
        keys = ["model.activation", "model.init"]
        plane = draw_factor_plane(factors_by_setting(both, keys), keys, "2 seeds", "t")
    assert len(set(marker_styles(plane).values())) == 6
    points = [line for line in plane.axes[0].lines if line.get_linestyle() == "None"]
    assert len({(p.get_marker(), p.get_fillstyle()) for p in points}) == 9


def test_points_have_the_colours_of_the_legend(inits):
    _, layers = inits
    with print_style():
        plane = draw_factor_plane(
            factors_by_setting(layers, ["model.init"]), ["model.init"], "2 seeds", "t"
        )
    points = [line for line in plane.axes[0].lines if line.get_linestyle() == "None"]
    (legend,) = plane.legends
    assert {to_rgb(p.get_color()) for p in points} == {
        to_rgb(h.get_color()) for h in legend.legend_handles
    }


def test_marks_of_values_not_finite_have_the_marker_of_their_setting(inits):
    _, layers = inits
    keys = ["model.depth", "model.activation", "model.init", "clip"]
    with print_style():
        figure = draw_profile(layers, keys, "delta_norm", "2 seeds", "title")
    marks = [line for line in figure.axes[0].lines if line.get_gid() == "inf"]
    assert [(m.get_marker(), m.get_fillstyle()) for m in marks] == [("s", "full"), ("^", "full")]
    assert len({tuple(m.get_ydata()) for m in marks}) == 2  # at different levels
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "not finite" in names
    assert "exactly 0" not in names


def test_a_panel_without_a_run_has_a_note(inits):
    _, layers = inits
    some = layers[(layers["model.init"] != "a") | (layers["clip"] != "norm")]
    with print_style():
        figure = draw_profile(some, ["model.init", "clip"], "delta_norm", "2 seeds", "title")
    notes = {ax.get_title(): [text.get_text() for text in ax.texts] for ax in figure.axes}
    assert [title for title, texts in notes.items() if texts] == ["clip norm, init a"]


def test_ticks_are_at_layers_that_exist(tmp_path):
    write_run(tmp_path / "a", 10.0 ** np.arange(-20, 1))
    write_run(tmp_path / "b", [1.0], seed=1)
    _, _, whole = reduced(tmp_path)
    record = pd.concat(
        [
            pd.DataFrame({"step": s, "axis": "depth", "position": range(1, 22), "delta_norm": 1.0})
            for s in (0, 10)
        ]
    )
    with print_style():
        for axis in (
            draw_profile(whole.layers, [], "delta_norm", "2 seeds", "t").axes[0].xaxis,
            draw_factors_by_layer([("a", whole.layers[whole.layers["run"] == "a"])], "t")
            .axes[0]
            .xaxis,
            draw_timeline([("a", record, 12)], "t").axes[0].yaxis,
        ):
            assert axis.get_ticklocs().tolist() == [1, 5, 10, 15, 20]


def test_panels_of_factors_have_the_same_scale(inits):
    _, layers = inits
    records = [(run, layers[layers["run"] == run]) for run in ("0", "1")]
    with print_style():
        one, two = draw_factors_by_layer(records, "t").axes
    assert one.get_ylim() == two.get_ylim()
    assert "decades" in one.get_ylabel()


def test_the_last_record_is_drawn_until_training_ends():
    assert step_borders(np.array([0, 10, 20]), 25).tolist() == [0, 10, 20, 25]
    assert step_borders(np.array([0]), 0).tolist() == [0, 1]


def test_only_panels_with_colours_have_a_colour_bar():
    record = pd.DataFrame({"step": 0, "axis": "depth", "position": [1, 2], "delta_norm": [0.0, 1]})
    with print_style():
        figure = draw_timeline([("a", record, 1), ("b", record.assign(delta_norm=0.0), 1)], "t")
    assert [ax.get_ylabel() for ax in figure.axes[2:]] == ["log10 ‖delta‖"]


def test_labels_of_many_columns_do_not_overlap(tmp_path):
    for depth in (2, 10, 20, 50):
        write_run(tmp_path / str(depth), [1.0] * (depth + 1), **{"model.depth": depth, "clip": "x"})
    frame, _, whole = reduced(tmp_path)
    layers = whole.layers.merge(frame[["run", "model.depth", "clip"]], on="run")
    with print_style():
        figure = draw_profile(layers, ["model.depth", "clip"], "delta_norm", "2 seeds", "title")
        assert not cut_texts(figure)
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_visible()]
    pairs = [
        (a, b) for i, (a, one) in enumerate(boxes) for b, two in boxes[:i] if one.overlaps(two)
    ]
    assert not pairs


def test_loss_panels_of_runs_that_diverge_immediately(tmp_path):
    write_run(tmp_path / "0", verdict="diverged", status="diverged", losses=[np.inf])
    write_run(tmp_path / "1", verdict="diverged", status="diverged", losses=[1.0, 2.0, np.inf])
    write_run(tmp_path / "2", verdict="exploding", losses=[np.nan])
    frame, keys, whole = reduced(tmp_path)
    with print_style():
        exploding, diverged = draw_losses(whole.losses, frame, keys, "t").axes
    head = diverged.get_title().replace("\n", " ")
    assert head == "diverged: 2 runs of 1 setting, 1 without a finite loss"
    assert exploding.get_title() == "exploding: 1 run, 1 without a finite loss"
    assert [text.get_text() for text in exploding.texts] == ["no finite loss to draw"]
    assert not diverged.texts
    assert all(tick == round(tick) for tick in diverged.get_xticks())


def test_an_axis_can_exceed_the_range_of_floats():
    edges = Edges(np.array([-320.0, 308.0]), zeros=1, infinities=2)
    assert edges.low < edges.zero(0) < -320
    assert 308 < edges.infinity(0) < edges.infinity(1) < edges.high


@pytest.mark.parametrize(
    ("logs", "labels"),
    [([0.0], ["10⁰"]), ([0.3, 0.4], ["10⁰", "10¹"]), ([np.nan], [])],
)
def test_an_axis_has_ticks_at_powers_of_ten(logs, labels):
    ax = Figure().subplots()
    Edges(np.array(logs), zeros=0, infinities=0).draw(ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == labels
    low, high = ax.get_ylim()
    assert all(low < tick < high for tick in ax.get_yticks())


def test_the_lines_of_a_title_have_similar_lengths():
    lines = balance_lines("one two three four five six", 25).split("\n")
    assert [len(line) for line in lines] == [13, 13]
    assert balance_lines("short", 92) == "short"
    assert balance_lines("it stays in 2 of 4 at depth 50", 27) == "it stays in 2 of 4 at\ndepth 50"


def test_loss_curves_have_a_panel_for_every_verdict_of_the_schema():
    names = [str(i) for i, _ in enumerate(schema.VERDICTS)]
    runs = pd.DataFrame({"run": names, "verdict": schema.VERDICTS})
    losses = pd.DataFrame({"run": np.repeat(names, 2), "step": [0, 1] * len(names), "loss": 1.0})
    with print_style():
        figure = draw_losses(losses, runs, [], "title")
    titles = {ax.get_title().split(":")[0] for ax in figure.axes if ax.get_visible()}
    assert titles == set(schema.VERDICTS)


def test_a_null_is_blank_and_a_nan_is_hatched():
    rows = {"step": [0] * 3, "axis": ["depth"] * 3, "position": [1, 2, 3]}
    record = from_arrow(pa.table({**rows, "delta_norm": [None, float("nan"), 1.0]}))
    with print_style():
        figure = draw_timeline([("a run", record, 1)], "title")
    (crossed,) = [c for c in figure.axes[0].collections if c.get_gid() == "not finite"]
    assert (~np.ma.getmaskarray(crossed.get_array())).ravel().tolist() == [False, True, False]
    means = layer_means(record, signals=["delta_norm"], factors=[])
    assert means["delta_norm_inf"].tolist() == [0, 1, 0]
    assert np.isnan(means["delta_norm"][:2]).all()
    assert means["delta_norm"][2] == 0
