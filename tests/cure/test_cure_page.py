"""Texts, figures and table of a comparison that the tests define."""

import math

import numpy as np
import pandas as pd
import pytest

from gradlab.cure import cure_page
from gradlab.cure.comparison import Comparison
from gradlab.cure.examined_run import ExaminedRun
from gradlab.cure.ranking import rank
from gradlab.cure.remedies import UNCHANGED, Remedy
from gradlab.cure.reruns import FAILED, RerunResult
from gradlab.pages.style import print_style
from gradlab.results.load import Run
from tests.configs import settings
from tests.report.test_report_figures import cut_texts

LONG = "model.init=kaiming_normal model.init_gain=null"


def profile(slope, zero=0.0, inf=0.0):
    position = np.arange(1, 11)
    table = {"position": position, "delta_norm": slope * (10 - position)}
    shares = {"delta_norm_zero": zero, "delta_norm_inf": inf}
    return pd.DataFrame({**table, **shares, "weight_grad_norm": 0.0})


def results(name, slope, last, kinds=(), severity=0):
    """Make the results of three seeds.

    Args:
        name: overrides of the remedy; "" for the unchanged run.
        slope: decades of the error signal per layer.
        last: loss of the last step.
        kinds: kinds of findings.
        severity: severity of the findings.
    """
    remedy = Remedy(tuple(name.split()), "made up") if name else UNCHANGED
    losses, test = list(np.linspace(2.3, last, 40)), {"loss": 1.0, "accuracy": 0.5}
    return [
        RerunResult(remedy, seed, kinds, severity, losses, 9 * slope, profile(slope), test)
        for seed in range(3)
    ]


def comparison(*groups, **more):
    unchanged = results("", -1.0, 2.3, ("vanishing",), 2)
    base, ranked = rank([*unchanged, *(each for group in groups for each in group)], UNCHANGED)
    run = ExaminedRun(Run("r", __file__, {}), (), ())
    short = settings(train__steps=40)
    return Comparison(run, short, ["model.depth=9"], [], base, ranked, **more)


INVALID = Remedy(("model.norm=rms",), "made up")
FAILURE = [RerunResult(INVALID, 0, ("failed",), FAILED, error="no such norm")]
GOOD = results(LONG, 0.01, 0.5)
SMALL = results("model.norm=layer", -0.3, 1.9, ("vanishing",), 1)
DIVERGED = results("optim.lr=9", math.nan, math.nan, ("diverged",), 3)


def test_the_headline_counts_the_remedies_that_work_and_names_the_best():
    text = cure_page.headline(comparison(GOOD, SMALL, DIVERGED, FAILURE))
    assert text == f"vanishing: 1 of 4 remedies works; the best is {LONG}"
    text = cure_page.headline(comparison(SMALL, DIVERGED))
    assert text == "vanishing: none of 2 remedies works; model.norm=layer helps most"
    assert cure_page.headline(comparison(DIVERGED)) == "vanishing: none of 1 remedy helps"


def test_the_summary_names_remedies_that_do_not_help_or_failed():
    text = " ".join(cure_page.summary(comparison(GOOD, DIVERGED, FAILURE, not_trained=2)))
    assert "Unchanged: vanishing 3/3, final loss 2.3." in text
    assert "Worse: optim.lr=9." in text
    assert "Could not be trained: model.norm=rms (no such norm)." in text
    assert "healthy in 3 of 3 seeds (unchanged: 0 of 3); the loss is lower: 0.569 (un" in text
    assert text.endswith("Interrupted before 2 planned reruns.")


def test_the_titles_state_the_effect_of_the_best_remedy():
    example = comparison(GOOD, SMALL)
    drawn = cure_page.drawn_remedies(example)
    assert [each.remedy.name for each in drawn] == ["unchanged", LONG, "model.norm=layer"]
    title = cure_page.signal_title(drawn)
    assert "falls by 9.0 decades (1-billion-fold) unchanged, grows by 0.1 decades (1.2-" in title
    title = cure_page.loss_title(example, drawn)
    assert "the loss is 2.3 unchanged (vanishing 3/3), 0.569 with" in title


def test_a_remedy_without_effect_is_drawn_only_if_none_helps():
    assert len(cure_page.drawn_remedies(comparison(GOOD, DIVERGED))) == 2
    assert len(cure_page.drawn_remedies(comparison(DIVERGED, FAILURE))) == 2
    assert len(cure_page.drawn_remedies(comparison(FAILURE))) == 1


@pytest.mark.parametrize("groups", [(GOOD, SMALL, DIVERGED), (DIVERGED,), (FAILURE,)])
def test_no_text_is_cut_and_lines_differ_without_colour(groups):
    with print_style():
        for figure in cure_page.draw_figures(comparison(*groups)).values():
            ticks = [
                t for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())
            ]
            assert not {*cut_texts(figure)} - {tick.get_text() for tick in ticks}
            (legend,) = figure.legends
            marks = [handle.get_marker() for handle in legend.legend_handles]
            assert len(set(marks)) == len(marks)
            assert figure.get_suptitle()
            for axes in figure.axes:
                assert axes.get_xlabel()


def test_the_last_loss_of_each_diverged_seed_is_marked():
    with print_style():
        diverged = results("optim.lr=9", math.nan, 1e9, ("diverged",), 3)
        figure = cure_page.draw_figures(comparison(diverged))["loss"]
    assert [line.get_marker() for line in figure.axes[0].lines].count("x") == 3
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(("steps", "mean"), [(40, "1 step"), (200, "4 steps")])
def test_the_caption_states_the_steps_per_point_of_a_loss_curve(steps, mean):
    example = comparison(GOOD)
    object.__setattr__(example, "settings", settings(train__steps=steps))
    page = cure_page.cure_page(example, ["loss"])
    assert f"mean over {mean}." in " ".join(each.caption for each in page.sections)


def test_the_table_has_a_command_for_each_remedy():
    table = cure_page.remedy_table(comparison(GOOD, FAILURE))
    assert table["remedy"].tolist() == ["unchanged", LONG, "model.norm=rms"]
    assert table["command"][0] == "gradlab run model.depth=9"
    assert table["command"][1] == f"gradlab run model.depth=9 {LONG}"


def test_the_page_escapes_texts(tmp_path):
    cure_page.check_writable(tmp_path / "cure")
    remedy = Remedy(("model.norm=rms",), "<b>")
    bad = [RerunResult(remedy, 0, ("failed",), FAILED, error="<script>")]
    text = cure_page.write_page(comparison(GOOD, bad), tmp_path / "cure").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert {f"{n}.{e}" for n in ("signal", "loss") for e in ("png", "svg")} == {
        file.name for file in (tmp_path / "cure" / "figures").iterdir()
    }
