"""Theory and measurement: the join and its residuals, on written and on trained runs."""

import numpy as np
import pandas as pd
import pytest

import gradlab
from gradlab.pages.style import print_style
from gradlab.report.prediction import draw_theory, join_theory, theory_residuals, theory_title
from gradlab.report.reduce import reduce_folder
from gradlab.report.report_page import write_report
from gradlab.results.load import find
from gradlab.runs.run import Label, run
from tests.configs import settings
from tests.report.runs import write_run

MODEL = {
    "model.depth": 4,
    "model.width": 32,
    "model.activation": "tanh",
    "model.init": "lecun_normal",
    "model.norm": "none",
    "train.batch_size": 64,
}
DATA = {"inputs": 16, "outputs": 3, "input_rms": 0.9}


def write_predicted(folder, off=0.0, **changes):
    """Write a run that equals the prediction, except for `off` decades at the first layer."""
    frame = gradlab.predict([16, *[32] * 4, 3], "tanh", "lecun_normal", input_rms=0.9)
    delta = frame["delta_norm"].to_numpy() * 7.0  # any unit of the loss
    delta[0] *= 10**off
    write_run(folder, delta, data=DATA, **{**MODEL, **changes})


def test_a_run_that_equals_the_prediction_has_no_residual(tmp_path):
    write_predicted(tmp_path / "a")
    table = join_theory(*reduce_folder(tmp_path))
    assert table["delta_norm_left"].abs().max() < 1e-12
    assert len(table) == 5


def test_residuals_are_in_decades_and_compared_with_the_predicted_deviation(tmp_path):
    write_predicted(tmp_path / "0")
    write_predicted(tmp_path / "1", off=0.5)
    residuals = theory_residuals(join_theory(*reduce_folder(tmp_path)), [])
    assert residuals["left"].tolist() == [pytest.approx(0.25)]
    assert residuals[["runs", "inside"]].to_numpy().tolist() == [[2, 0.5]]
    assert theory_title(residuals) == (
        "At initialisation, the prediction is off by 0.25 decades (1.8-fold); "
        "50% of 2 networks within one predicted standard deviation"
    )


def test_the_title_states_the_median_and_the_largest_residual(tmp_path):
    for index, off in enumerate((0.0, 0.1, 0.5)):
        write_predicted(tmp_path / str(index), off=off)
    title = theory_title(theory_residuals(join_theory(*reduce_folder(tmp_path)), ["run"]))
    assert "off by at most 0.10 decades (1.3-fold) in half of 3 settings" in title
    assert "by at most 0.50 decades (3.2-fold) in all; 67% of 3 networks" in title


def test_a_network_with_one_layer_is_not_compared(tmp_path):
    write_run(tmp_path / "a", [3.0], data=DATA, **{**MODEL, "model.depth": 0})
    assert join_theory(*reduce_folder(tmp_path)).empty


@pytest.mark.parametrize(
    "changes", [{"model.activation": "torch.nn.Mish"}, {"model.init": "zeros"}, {"model": "other"}]
)
def test_networks_that_the_theory_does_not_cover_are_left_out(tmp_path, changes):
    write_predicted(tmp_path / "a", **changes)
    assert join_theory(*reduce_folder(tmp_path)).empty
    write_report(tmp_path)
    assert not (tmp_path / "report" / "figures" / "theory.png").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train networks with vanishing or exploding gradients."""
    root = tmp_path_factory.mktemp("unhealthy")
    common = {"train__steps": 21, "model__depth": 12}
    for name, overrides in {
        "0": {"model__activation": "sigmoid"},
        "1": {"model__activation": "sigmoid", "seed": 1},
        "2": {"model__init": "normal", "optim__lr": 1e-12},
        "3": {"model__init_gain": 0.3, "model__norm": "layer", "model__activation": "tanh"},
        "4": {"model": "resmlp", "model__branch_scale": 2.0, "model__init": "kaiming_normal"},
    }.items():
        run(settings(**{**common, **overrides}), root / name, Label(name))
    return root


def test_each_cause_equals_the_recorded_rows_of_its_step(trained):
    write_report(trained)
    causes = pd.read_csv(trained / "report" / "tables" / "causes.csv", dtype={"run": str})
    causes = causes[causes["kind"].isin(["vanishing", "exploding"])].dropna(subset=["layer"])
    assert len(causes) >= 4
    for _, cause in causes.iterrows():
        rows = pd.read_parquet(trained / cause["run"] / "layers.parquet")
        rows = rows[(rows["axis"] == "depth") & (rows["step"] == cause["step"])]
        rows = rows.set_index("position")
        first, last = int(cause["layer"]), int(rows.index.max())
        inner, outer = rows.loc[first : last - 1], rows.loc[first + 1 : last]
        expected = {
            "decades": np.log10(rows["delta_norm"][first] / rows["delta_norm"][last]),
            "activation": np.log10(inner["act_factor"]).sum(),
            "weights": np.log10(outer["weight_factor"]).sum(),
            "normalisation": np.log10(inner["norm_factor"]).sum(),
        }
        for name, value in expected.items():
            assert cause[name] == pytest.approx(value, abs=1e-9), name
        parts = ["activation", "weights", "normalisation", "skips"]
        assert cause[parts].sum() == pytest.approx(cause["decades"], abs=1e-3)
        assert f"({abs(expected['decades']):.1f} decades) from layer {last}" in cause.cause


def test_trained_runs_start_as_theory_predicts(trained):
    table = join_theory(*reduce_folder(trained))
    plain = table[table["run"].isin(["0", "1"]) & (table["position"] == 1)]
    assert (plain["delta_norm_left"].abs() < 3 * plain["delta_sd"]).all()
    (one, *_) = find(trained).runs
    finding = one.info["findings"][0]
    assert "theory expects " in finding["cause"]
    assert finding["evidence"]["theory"] == pytest.approx(plain["delta_norm_theory"].iloc[0])


def test_a_run_without_a_finite_prediction_is_trained_too(tmp_path):
    """The predicted variances and the forward signal overflow float64."""
    deep = settings(model__init="normal", model__depth=200, train__steps=2, train__batch_size=8)
    assert run(deep, tmp_path / "a", Label("a"))["status"] == "diverged"


def test_the_figure_shows_theory_as_line_and_band_and_runs_as_marks(trained):
    table = join_theory(*reduce_folder(trained))
    table = table[table["run"].isin(["0", "1"])].assign(**{"model.activation": "sigmoid"})
    with print_style():
        figure = draw_theory(table, ["model.activation"], "2 seeds", "a title")
    (ax,) = figure.axes
    line, marks = ax.lines
    first = table[table["run"] == "0"].sort_values("position")
    np.testing.assert_allclose(line.get_ydata(), first["delta_norm_theory"])
    assert set(marks.get_ydata()) <= set(table["delta_norm"])
    assert len(ax.collections) == 1


def test_runs_that_start_as_the_same_network_count_once(tmp_path):
    for clip in ("none", "norm"):
        for seed in (0, 1):
            write_predicted(tmp_path / f"{clip}{seed}", off=seed, clip=clip, seed=seed)
    write_predicted(tmp_path / "wide", seed=0, clip="none", **{"data.noise": 1.0})
    write_report(tmp_path)
    residuals = pd.read_csv(tmp_path / "report" / "tables" / "theory.csv")
    assert residuals["runs"].sum() == 3
    figure = (tmp_path / "report" / "figures" / "theory.svg").read_text()
    assert "of 3 networks" in figure
    assert "1 to 2 seeds per setting" in figure
