"""Summaries over seeds, compared with numbers computed by hand; and how they state the seeds."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gradlab.cli.main import main
from gradlab.report.by_setting import (
    describe_seeds,
    leading_verdict,
    seed_note,
    seed_table,
    summarise_seeds,
    verdict_counts,
)
from gradlab.report.report_page import write_report
from gradlab.results.resume import DONE
from tests.report.runs import write_run
from tests.report.test_report_page import reduced

DEPTH = "model.depth"


@pytest.fixture
def sweep(tmp_path):
    """Depth 2: three seeds that lose 4 to 6 decades. Depth 1: an unstarted run, a run of zeros."""
    for seed, decades in enumerate((4, 6, 5)):
        verdict = "vanishing" if decades > 4 else "healthy"
        delta = 10.0 ** -np.array([decades, 1, 0])
        write_run(tmp_path / f"a{seed}", delta, verdict=verdict, seed=seed, **{DEPTH: 2})
    unstarted = {"steps": 0, "verdict": None, "status": "running", "losses": []}
    write_run(tmp_path / "b0", [1.0, 1.0], **unstarted, seed=0, **{DEPTH: 1})
    write_run(tmp_path / "b1", [0.0, 1.0], verdict="dead", seed=1, **{DEPTH: 1})
    return tmp_path


def test_a_setting_has_the_median_and_range_of_its_runs(sweep):
    frame, keys, _ = reduced(sweep)
    deep, shallow = summarise_seeds(frame, keys).to_dict("records")
    assert (deep[DEPTH], deep["seeds"], deep["runs"], deep["done"]) == (2, 3, 3, 3)
    assert deep["decades"] == pytest.approx(-5)
    assert (deep["decades_low"], deep["decades_high"]) == pytest.approx((-6, -4))
    assert deep["slope"] == pytest.approx(-2.5)
    assert (deep["test_accuracy"], deep["test_loss"], deep["decades_runs"]) == (0.5, 1.0, 3)
    assert (deep["verdict"], deep["verdicts"]) == ("vanishing", "vanishing 2/3, healthy 1/3")
    assert (shallow["decades"], shallow["decades_runs"]) == (-np.inf, 1)
    assert shallow["done"] == 1 < shallow["runs"]


def test_the_median_over_seeds_is_robust_to_an_outlier(tmp_path):
    for seed, first in enumerate((1e-8, 1e-8, 1.0)):
        write_run(tmp_path / str(seed), [first, 1.0], seed=seed)
    frame, keys, _ = reduced(tmp_path)
    (row,) = summarise_seeds(frame, keys).to_dict("records")
    assert row["decades"] == pytest.approx(-8)  # the arithmetic mean of the ratios is 10^-0.5


def test_cells_state_how_many_runs_have_a_value(sweep):
    frame, keys, _ = reduced(sweep)
    deep, shallow = seed_table(summarise_seeds(frame, keys), keys).to_dict("records")
    assert deep["decades"] == "-5 [-6, -4]"
    assert shallow["decades"] == "-inf (1/2)"
    assert set(shallow["statuses"].split(", ")) == {"running 1/2", "completed 1/2"}
    done = frame[frame["status"].isin(DONE)]
    assert "statuses" not in seed_table(summarise_seeds(done, keys), keys)


def test_a_note_says_that_each_setting_has_one_run(tmp_path):
    for depth in (1, 2):
        write_run(tmp_path / str(depth), [1e-3] * depth + [1.0], **{DEPTH: depth})
    frame, keys, _ = reduced(tmp_path)
    table = summarise_seeds(frame, keys)
    assert seed_table(table, keys)["decades"].tolist() == ["-3", "-3"]
    assert seed_note(table).startswith("Each setting has one run")
    assert describe_seeds(frame, keys) == "1 seed"


def test_the_number_of_seeds_per_setting():
    runs = pd.DataFrame({"x": [1, 1, 2], "seed": [0, 1, 0]})
    assert describe_seeds(runs, ["x"]) == "1 to 2 seeds"
    assert describe_seeds(runs, []) == "3 runs"  # two of them have the same seed
    assert describe_seeds(runs.iloc[:2], []) == "2 seeds"
    assert describe_seeds(runs.iloc[:0], ["x"]) == "no run"


def test_in_a_tie_the_verdict_healthy_loses():
    words = pd.Series(["healthy", "vanishing", "healthy", "vanishing"])
    assert leading_verdict(words) == "vanishing"
    assert leading_verdict(pd.Series(["healthy", "healthy", "dead"])) == "healthy"
    assert verdict_counts(pd.Series(["dead"])) == "dead"
    assert verdict_counts(pd.Series(["dead", "dead"])) == "dead 2/2"


def test_show_over_seeds_prints_a_row_per_setting_and_names_damaged_runs(sweep, capsys):
    (sweep / "a2" / "run.json").write_text("{")
    assert main(["show", "--over-seeds", str(sweep)]) == 0
    shown = capsys.readouterr()
    head, deep, shallow, legend, headline = shown.out.splitlines()
    assert head.split()[:3] == ["depth", "seeds", "verdicts"]
    assert "-5 [-6, -4]" in deep
    assert "-inf (1/2)" in shallow
    assert "[minimum, maximum]" in legend
    assert headline.startswith("2 of 3 runs")
    assert "a2" in shown.err


def test_a_wrong_flag_and_an_empty_folder_print_one_line(tmp_path, capsys):
    assert main(["show", str(tmp_path), "--seeds"]) == 2
    assert "did you mean --over-seeds?" in capsys.readouterr().err
    assert main(["show", str(tmp_path), "--over-seeds"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_brackets_are_not_read_as_markup(tmp_path):
    from gradlab.report.run_table import show_runs

    for seed in (0, 1):
        write_run(tmp_path / str(seed), [np.inf, 1.0], seed=seed)
    console = Console(file=StringIO(), force_terminal=True, width=200)
    show_runs(tmp_path, console, seeds=True)
    assert "inf [inf, inf]" in console.file.getvalue()


def test_page_and_figures_state_the_number_of_seeds(sweep):
    page = write_report(sweep).path.read_text()
    figures = sweep / "report" / "figures"
    assert "2 to 3 seeds per setting" in page
    assert "-5 [-6, -4]" in page
    for name in ("decades", "profile", "profile_weights", "factors"):
        assert "mean over 2 to 3 seeds" in (figures / f"{name}.svg").read_text()
    for name in ("timeline", "factors_by_layer"):
        drawn = (figures / f"{name}.svg").read_text()
        assert "vanishing (1 of 2 runs)" in drawn
        assert "seed 1" in drawn
    assert pd.read_csv(sweep / "report" / "tables" / "settings.csv")["seeds"].tolist() == [3, 2]
