"""The results of `gradlab cure`: terminal text, page with figures, and `remedies.csv`."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.cure.comparison import Comparison
from gradlab.cure.examined_run import command_line
from gradlab.cure.ranking import RankedRemedy, is_higher, is_lower
from gradlab.errors import StoreError
from gradlab.pages.html import render
from gradlab.pages.numbers import count, decades_text
from gradlab.pages.output_folder import check_replaceable, new_folder
from gradlab.pages.page import Page, PageTable, Section
from gradlab.pages.style import (
    COLOURS,
    LINES,
    MARKERS,
    add_legend,
    make_axes,
    print_style,
    save_figure,
    set_log_axis,
    set_step_ticks,
    set_title,
)
from gradlab.report.layer_profile import draw_profile

MOST_NAMED = 6
MOST_DRAWN = 3
POINTS = 50  # of a loss curve
HEADINGS = ("remedy", "verdict", "findings left", "decades", "final loss", "held out")
HEADING_TEXT = (
    "findings left: with the number of seeds; decades: log10 of ‖delta_1‖ / ‖delta_L‖, median over "
    "steps and seeds (-3: 1,000 times smaller in the first layer); final loss: mean over the last "
    "tenth of the steps, median over seeds (range); held out: accuracy, or loss."
)
VERDICT_MEANINGS = (
    "works: most seeds are healthy; in most seeds the final loss is at least a tenth below the "
    "first, and below the loss of an output of zeros; the loss is no higher than unchanged.",
    "helps: fewer findings or a lower loss, and neither is worse; the loss falls as for `works` in "
    "most seeds, or more seeds are healthy.",
    "worse: more findings or a higher loss, and neither is better.",
    "no better: everything else, such as fewer findings with a higher loss.",
)
LOSS_RULE = (
    "A loss is lower (higher) than unchanged if its median is below (above) the loss of every "
    "unchanged seed, by more than 5%."
)
CAPTIONS = {
    "signal": "The norm of the error signal over the batch, at each layer. Geometric mean over the "
    "recorded steps. The line is the mean over the seeds, the band their range.",
    "loss": "Training loss, mean over {steps}. The line is the median over the seeds that are "
    "still training, the band their range. × marks the last loss of a seed that diverged.",
}


def check_writable(folder: Path) -> None:
    """Check that the page can be written, before the training that it describes.

    Raises:
        StoreError: the folder has files that gradlab did not write, or cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # `.` and `..` have no name
    try:
        check_replaceable(folder)
    except StoreError as error:
        raise StoreError(f"{error}, or choose another folder: cure.dir=") from error
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"{folder} cannot be written: {reason}; choose another cure.dir"
        ) from error


def write_page(comparison: Comparison, folder: Path) -> Path:
    """Write `index.html`, `figures/` and `remedies.csv`.

    Returns:
        The path of the page.

    Raises:
        StoreError: the folder cannot be written to.
    """
    with new_folder(folder) as new:
        (new / "figures").mkdir()
        remedy_table(comparison).to_csv(new / "remedies.csv", index=False)
        with print_style():
            figures = draw_figures(comparison)
            for name, figure in figures.items():
                save_figure(figure, new / "figures", name)
        page = cure_page(comparison, list(figures))
        (new / "index.html").write_text(render(page, new / "figures"), encoding="utf-8")
    return folder / "index.html"


def cure_page(comparison: Comparison, figures: Sequence[str]) -> Page:
    """Return the page with figures.

    Args:
        comparison: the ranked remedies.
        figures: the names of the figures.
    """
    steps = count(_steps_per_point(comparison), "step")
    ranked = [comparison.base, *comparison.ranked]
    rows = [[*table_row(each), each.remedy.reason] for each in ranked]
    classes = [each.verdict.replace(" ", "-") for each in ranked]
    table = PageTable([*HEADINGS, "reason"], rows, row_classes=classes)
    findings = [f"{each.kind} ({each.severity}): {each.cause}" for each in comparison.findings]
    best = comparison.best
    command = [Section("Command", code=remedy_command(comparison, best))] if best else []
    run = str(comparison.run.files.path)
    captions = {name: CAPTIONS[name].format(steps=steps) for name in figures}
    sections = [
        *command,
        Section("Findings of the run", [run], items=findings or ["diverged"]),
        *(
            Section("", figure=name, alt=name, caption=f"{caption} figures/{name}.svg")
            for name, caption in captions.items()
        ),
        Section("All remedies", [HEADING_TEXT, "remedies.csv holds a command for each."], table),
        Section("Verdicts of remedies", items=VERDICT_MEANINGS, after=[LOSS_RULE]),
    ]
    return Page(headline(comparison), sections, summary(comparison))


def terminal_page(comparison: Comparison) -> Page:
    """Return the page for a terminal: the summary and the table."""
    rows = [table_row(each) for each in (comparison.base, *comparison.ranked)]
    table = PageTable(HEADINGS, rows, prose=False)
    section = Section("Remedies", summary(comparison), table, [HEADING_TEXT])
    return Page(headline(comparison), [section])


def no_remedy_needed(name: str, status: str, verdict: str | None) -> str:
    """Return the text about a run without findings."""
    if verdict == "too_early":
        return (
            f"{name} has no finding, but its steps are too few to see whether the loss falls: "
            "repeat the run with a larger train.steps"
        )
    state = "healthy" if status == "completed" else f"{status}, and its rows show no finding"
    return f"{name} is {state}: no remedy is needed"


def remedy_command(comparison: Comparison, ranked: RankedRemedy) -> str:
    """Return the command that trains the run with a remedy."""
    overrides = comparison.overrides_with(ranked.remedy)
    return command_line(overrides, comparison.run.search_path)


def remedy_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per remedy, the unchanged run first."""
    rows = [
        {
            "remedy": each.remedy.name,
            "verdict": each.verdict,
            "pair": each.remedy.pair,
            "seeds": each.seeds,
            "healthy": each.healthy,
            "learning": each.learning,
            "findings": findings_left(each, most=len(each.kinds)),
            "decades": each.decades,
            "loss": each.loss,
            "loss_low": each.losses[0],
            "loss_high": each.losses[-1],
            "test_loss": each.test("loss"),
            "test_accuracy": each.test("accuracy"),
            "reason": each.remedy.reason,
            "error": each.error,
            "command": remedy_command(comparison, each),
        }
        for each in [comparison.base, *comparison.ranked]
    ]
    return pd.DataFrame(rows)


def headline(comparison: Comparison) -> str:
    """Return how many remedies work, and the best: `vanishing: 2 of 9 remedies work; …`."""
    base, best = comparison.base, comparison.best
    frequent = [kind for kind, n in base.kinds.items() if n >= base.seeds / 2]
    found = ", ".join(frequent or base.kinds)
    if not found:
        seeds = count(base.seeds, "seed")
        return f"Trained again with {seeds}, the run is healthy: no remedy is needed"
    number = len(comparison.ranked)
    tried = "1 remedy" if number == 1 else f"{number} remedies"
    works = sum(each.verdict == "works" for each in comparison.ranked)
    if best is None:
        return f"{found}: none of {tried} helps"
    if works:
        verb = "works" if works == 1 else "work"
        return f"{found}: {works} of {tried} {verb}; the best is {best.remedy.name}"
    return f"{found}: none of {tried} works; {best.remedy.name} helps most"


def summary(comparison: Comparison) -> list[str]:
    """Return sentences about the reruns, the best remedy, and the other remedies."""
    base, best = comparison.base, comparison.best
    steps, seeds = count(comparison.settings.train.steps, "step"), count(base.seeds, "seed")
    pairs = sum(each.remedy.pair for each in comparison.ranked)
    sentences = [
        f"The run was trained for {steps} with {seeds}, unchanged and with each remedy. "
        f"Unchanged: {findings_left(base)}, final loss {format_losses(base)}."
    ]
    if pairs:
        were = "was" if pairs == 1 else "were"
        sentences.append(
            f"No single remedy works, so {count(pairs, 'pair')} of the best {were} tried too."
        )
    if best is not None:
        sentences.append(f"{best.remedy.name}: {describe_effect(best, base)}.")
    for verdict in ("no better", "worse"):
        names = [each.remedy.name for each in comparison.ranked if each.verdict == verdict]
        if names:
            more = len(names) - MOST_NAMED
            text = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            sentences.append(f"{verdict.capitalize()}: {text}.")
    sentences += [
        f"Could not be trained: {each.remedy.name} ({each.error})."
        for each in comparison.ranked
        if each.verdict == "failed"
    ]
    if comparison.not_trained:
        missing = count(comparison.not_trained, "planned rerun")
        sentences.append(f"Interrupted before {missing}.")
    return sentences


def describe_effect(ranked: RankedRemedy, base: RankedRemedy) -> str:
    """Return the effect of a remedy on the findings and on the loss."""
    lower, higher = is_lower(ranked, base), is_higher(ranked, base)
    trend = "lower" if lower else "higher" if higher else "the same"
    idle = ranked.seeds - ranked.learning
    learning = f"; it does not learn in {idle} of {ranked.seeds}" if idle else ""
    return (
        f"healthy in {ranked.healthy} of {ranked.seeds} seeds (unchanged: {base.healthy} of "
        f"{base.seeds}); the loss is {trend}: {format_number(ranked.loss)} (unchanged: "
        f"{format_number(base.loss)}){learning}"
    )


def findings_left(ranked: RankedRemedy, most: int = 2) -> str:
    """Return at most `most` findings, with the number of seeds: `vanishing 2/3, dead 1/3`."""
    texts = [f"{kind} {n}/{ranked.seeds}" for kind, n in ranked.kinds.items()]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more or "healthy"


def format_losses(ranked: RankedRemedy) -> str:
    """Return the median of the final losses, and their range."""
    low, high = format_number(ranked.losses[0]), format_number(ranked.losses[-1])
    median = format_number(ranked.loss)
    return median if low == high else f"{median} ({low} to {high})"


def format_number(value: float) -> str:
    """Return a number with three digits, "not finite" for inf, and "" for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:.3g}" if math.isfinite(value) else "not finite"


def format_decades(value: float) -> str:
    """Return log10 of a ratio, with its sign."""
    if math.isinf(value):
        return "exactly 0" if value < 0 else "infinite"
    return "" if math.isnan(value) else f"{value:+.1f}"


def table_row(ranked: RankedRemedy) -> list[str]:
    """Return the cells of a remedy under `HEADINGS`."""
    accuracy = ranked.test("accuracy")
    held_out = format_number(ranked.test("loss")) if math.isnan(accuracy) else f"{accuracy:.1%}"
    verdict = "" if ranked.verdict == "unchanged" else ranked.verdict
    name = f"{ranked.remedy.name} (a pair)" if ranked.remedy.pair else ranked.remedy.name
    cells = [name, verdict, findings_left(ranked), format_decades(ranked.decades)]
    failed = ranked.verdict == "failed"
    return [*cells, "", ""] if failed else [*cells, format_losses(ranked), held_out]


def draw_figures(comparison: Comparison) -> dict[str, Figure]:
    """Draw the unchanged run and its best remedies: error signal over depth, and loss over steps.

    Returns:
        The figures "signal" and "loss".
    """
    drawn = drawn_remedies(comparison)
    return {"signal": _draw_signal(drawn), "loss": _draw_loss(comparison, drawn)}


def drawn_remedies(comparison: Comparison) -> list[RankedRemedy]:
    """Return the unchanged run and the best remedies, or the first one if none helps."""
    trained = [each for each in comparison.ranked if each.verdict != "failed"]
    good = [each for each in trained if each.verdict in ("works", "helps")]
    return [comparison.base, *(good[:MOST_DRAWN] or trained[:1])]


def _draw_signal(drawn: list[RankedRemedy]) -> Figure:
    """Draw ‖dLoss/dz_l‖ over depth."""
    profiles = [
        result.profile.assign(run=f"{each.remedy.name}, {result.seed}", remedy=each.remedy.name)
        for each in drawn
        for result in each.results
        if not result.profile.empty
    ]
    layers = pd.concat(profiles)
    seeds = count(int(layers.groupby("remedy")["run"].nunique().max()), "seed")
    return draw_profile(layers, ["remedy"], "delta_norm", seeds, signal_title(drawn))


def signal_title(drawn: list[RankedRemedy]) -> str:
    """Return how the error signal changes over depth, unchanged and with the best remedy."""
    base, *rest = drawn
    title = f"Error signal from the last to the first layer: {_signal_change(base)} unchanged"
    return f"{title}, {_signal_change(rest[0])} with {rest[0].remedy.name}" if rest else title


def _signal_change(ranked: RankedRemedy) -> str:
    """Return `falls by 9.0 decades (1-billion-fold)`, or another change."""
    decades = ranked.decades
    if math.isfinite(decades):
        return f"{'grows' if decades > 0 else 'falls'} by {decades_text(decades)}"
    return format_decades(decades) or "unknown"


def _draw_loss(comparison: Comparison, drawn: list[RankedRemedy]) -> Figure:
    figure, axes = make_axes(1, 1, 3.0)
    ax = axes[0, 0]
    extent: list[float] = []
    for index, each in enumerate(drawn):
        extent += _draw_curve(ax, each, _steps_per_point(comparison), index)
    ax.set_xlabel("step (updates)")
    ax.set_ylabel("training loss (batch mean)")
    last = comparison.settings.train.steps
    ax.set_xlim(-0.03 * last, 1.03 * last)
    set_step_ticks(ax.xaxis)
    if extent and min(extent) > 0 and max(extent) / min(extent) > 30:
        set_log_axis(ax)
    set_title(figure, loss_title(comparison, drawn))
    handles = [Line2D([], [], label=each.remedy.name, **_look(i)) for i, each in enumerate(drawn)]
    add_legend(figure, handles)
    return figure


def loss_title(comparison: Comparison, drawn: list[RankedRemedy]) -> str:
    """Return the final loss, unchanged and with the best remedy."""
    steps = comparison.settings.train.steps
    names = ["unchanged", *(f"with {each.remedy.name}" for each in drawn[1:2])]
    ends = [
        f"{format_number(each.loss)} {name} ({findings_left(each)})"
        for each, name in zip(drawn, names, strict=False)
    ]
    return f"After {steps} steps the loss is {', '.join(ends)}"


def _steps_per_point(comparison: Comparison) -> int:
    """Return the number of steps that a point of a loss curve averages."""
    return max(1, math.ceil(comparison.settings.train.steps / POINTS))


def _draw_curve(ax: Any, ranked: RankedRemedy, width: int, index: int) -> list[float]:
    """Draw the loss of one remedy.

    Args:
        ax: the axes.
        ranked: the remedy.
        width: number of steps that a point averages.
        index: position of the remedy in the legend.

    Returns:
        The smallest and the largest loss in the drawing; empty if there is none.
    """
    curves: dict[int, pd.Series] = {}
    for result in ranked.results:
        values = pd.Series(result.losses, dtype=float)
        values = values[np.isfinite(values)]
        if values.empty:
            continue
        groups = values.index // width
        curve = values.groupby(groups).mean()
        curve.index = values.index.to_series().groupby(groups).mean()
        curves[result.seed] = curve
        if "diverged" in result.kinds:
            ax.plot(curve.index[-1], curve.iloc[-1], "x", color=COLOURS[index], ms=6, zorder=5)
    if not curves:
        return []
    table = pd.DataFrame(curves)
    sparse = max(1, len(table) // 7)
    start = index * sparse // 4
    ax.plot(table.index, table.median(axis=1), **_look(index), markevery=(start, sparse))
    low, high = table.min(axis=1), table.max(axis=1)
    ax.fill_between(table.index, low, high, color=COLOURS[index], alpha=0.2, lw=0)
    return [float(low.min()), float(high.max())]


def _look(index: int) -> dict[str, Any]:
    marker = {"marker": MARKERS[index], "ms": 4, "markeredgewidth": 0.8}
    return {"color": COLOURS[index], "linestyle": LINES[index], **marker}
