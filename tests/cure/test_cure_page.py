"""Figures, words and table of a course that was made by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from gradlab.cure import cure_figures, cure_page, words
from gradlab.cure.course import Course
from gradlab.cure.patient import Patient
from gradlab.cure.ranking import rank
from gradlab.cure.remedies import UNCHANGED, Remedy
from gradlab.cure.trial import FAILED, Trial
from gradlab.pages.style import print_style
from gradlab.results.load import Run
from tests.configs import settings
from tests.report.test_report_figures import cut

LONG = "model.init=kaiming_normal model.init_gain=null"


def profile(slope, zero=0.0, inf=0.0):
    position = np.arange(1, 11)
    table = {"position": position, "delta_norm": slope * (10 - position)}
    shares = {"delta_norm_zero": zero, "delta_norm_inf": inf}
    return pd.DataFrame({**table, **shares, "weight_grad_norm": 0.0})


def trials(name, slope, last, kinds=(), gravity=0, **more):
    remedy = Remedy(tuple(name.split()), "made up") if name else UNCHANGED
    losses = list(np.linspace(2.3, last, 40))
    return [
        Trial(remedy, s, kinds, gravity, losses, 9 * slope, profile(slope), 1.0, 0.5, **more)
        for s in range(3)
    ]


def course(*more):
    base = trials("", -1.0, 2.3, ("vanishing",), 2)
    made = [*base, *(each for group in more for each in group)]
    unchanged, ranks = rank(made, UNCHANGED)
    patient = Patient(Run("r", __file__, {}), (), ())
    run = settings(train__steps=40)
    return Course(patient, run, ["model.depth=9"], [], unchanged, ranks, made)


FAILURE = [Trial(Remedy(("model.norm=rms",), "made up"), 0, ("failed",), FAILED, error="no such")]
GOOD = trials(LONG, 0.01, 0.5)
SMALL = trials("model.norm=layer", -0.3, 1.9, ("vanishing",), 1)
LOST = trials("optim.lr=9", math.nan, math.nan, ("diverged",), 3)


def test_the_headline_counts_the_cures_and_names_the_best():
    told = words.headline(course(GOOD, SMALL, LOST, FAILURE))
    assert told == f"1 of 4 remedies tried cures it (vanishing); the best: {LONG}"
    assert "what helps most: model.norm=layer" in words.headline(course(SMALL, LOST))
    assert words.headline(course(LOST)) == "None of 1 remedy tried helps (vanishing)"


def test_what_is_not_worth_it_and_what_failed_is_named():
    told = " ".join(words.sentences(course(GOOD, LOST, FAILURE)))
    assert "Worse, not worth it: optim.lr=9." in told
    assert "Could not be trained: model.norm=rms (no such)." in told
    assert "healthy in 3 of 3 seeds (unchanged 0 of 3), the loss is lower: 0.569 (2.3)" in told


def test_the_titles_state_what_the_best_does():
    found = course(GOOD, SMALL)
    shown = cure_figures.compared(found)
    assert [each.remedy.name for each in shown] == ["unchanged", LONG, "model.norm=layer"]
    assert f"-9.0 unchanged, +0.1 with {LONG}" in cure_figures.signal_title(shown)
    title = cure_figures.loss_title(found, shown)
    assert "the loss is 2.3 unchanged (vanishing 3/3), 0.569 with" in title


def test_beside_what_helps_nothing_useless_is_drawn():
    assert len(cure_figures.compared(course(GOOD, LOST))) == 2
    assert len(cure_figures.compared(course(LOST, FAILURE))) == 2
    assert len(cure_figures.compared(course(FAILURE))) == 1


@pytest.mark.parametrize("groups", [(GOOD, SMALL, LOST), (LOST,), (FAILURE,)])
def test_nothing_is_cut_and_lines_differ_without_colour(groups):
    with print_style():
        for figure in cure_figures.draw(course(*groups)).values():
            ticks = [
                t for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())
            ]
            assert not {*cut(figure)} - {tick.get_text() for tick in ticks}
            (legend,) = figure.legends
            marks = [handle.get_marker() for handle in legend.legend_handles]
            assert len(set(marks)) == len(marks)
            assert figure.get_suptitle()
            for axes in figure.axes:
                assert axes.get_xlabel()


def test_a_curve_is_of_so_many_points_and_its_last_is_marked():
    assert cure_figures.window(40) == 1
    assert cure_figures.window(200) == 4
    with print_style():
        sick = trials("optim.lr=9", math.nan, 1e9, ("diverged",), 3)
        figure = cure_figures.draw(course(sick))["loss"]
    assert [line.get_marker() for line in figure.axes[0].lines].count("x") == 3
    assert figure.axes[0].get_yscale() == "log"


def test_the_table_has_a_command_for_each():
    found = cure_page.remedy_table(course(GOOD, FAILURE))
    assert found["remedy"].tolist() == ["unchanged", LONG, "model.norm=rms"]
    assert found["command"][0] == "gradlab run model.depth=9"
    assert found["command"][1] == f"gradlab run model.depth=9 {LONG}"


def test_the_page_escapes_what_it_shows(tmp_path):
    cure_page.make_folders(tmp_path)
    bad = [Trial(Remedy(("model.norm=rms",), "<b>"), 0, ("failed",), FAILED, error="<script>")]
    path = cure_page.write_page(course(GOOD, bad), tmp_path)
    text = path.read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert {f"{n}.{e}" for n in ("signal", "loss") for e in ("png", "svg")} == {
        file.name for file in (tmp_path / "figures").iterdir()
    }
