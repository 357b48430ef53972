"""What a course of treatment found, in words: every sentence is computed from its ranking."""

import math
from collections.abc import Sequence

from gradlab.cure.course import Course
from gradlab.cure.ranking import Rank, is_higher, is_lower
from gradlab.pages.numbers import count
from gradlab.pages.page import Page, PageTable, Section

MOST_NAMED = 6


def headline(course: Course) -> str:
    """Say how many remedies cure the run, and which is best."""
    often = [kind for kind, n in course.base.left.items() if n >= course.base.seeds / 2]
    sickness = ", ".join(often or course.base.left)
    cures = [each for each in course.ranks if each.verdict == "cures"]
    tried = f"of {count(len(course.ranks), 'remedy').replace('remedys', 'remedies')} tried"
    if not sickness:
        return (
            f"Trained again, it is healthy with {count(course.base.seeds, 'seed')}: nothing to cure"
        )
    if cures:
        verb = "cures" if len(cures) == 1 else "cure"
        return f"{len(cures)} {tried} {verb} it ({sickness}); the best: {cures[0].remedy.name}"
    if course.best is not None:
        return f"None {tried} cures it ({sickness}); what helps most: {course.best.remedy.name}"
    return f"None {tried} helps ({sickness})"


def sentences(course: Course) -> list[str]:
    """Say what was trained, what the best remedy does, and what is not worth it."""
    base, best = course.base, course.best
    steps = course.settings.train.steps
    pairs = sum(each.remedy.pair for each in course.ranks)
    be = "was" if pairs == 1 else "were"
    told = [
        f"Each was trained for {count(steps, 'step')} with {count(base.seeds, 'seed')}, as was the "
        f"run itself, unchanged: {left(base)}, final loss {losses(base)}."
    ]
    if pairs:
        told.append(
            f"No single remedy cures it; {count(pairs, 'pair')} of the best {be} tried too."
        )
    if best is not None:
        told.append(f"{best.remedy.name}: {effect(best, base)}.")
    told += [
        f"{verdict.capitalize()}, not worth it: {_named(names)}."
        for verdict in ("no better", "worse")
        if (names := [r.remedy.name for r in course.ranks if r.verdict == verdict])
    ]
    told += [
        f"Could not be trained: {each.remedy.name} ({each.error})."
        for each in course.ranks
        if each.verdict == "failed"
    ]
    if course.waiting:
        told.append(f"It was interrupted: {count(course.waiting, 'trial')} more had been planned.")
    return told


def effect(found: Rank, base: Rank) -> str:
    """Say what a remedy did to the findings and to the loss, beside the unchanged run."""
    if found.verdict == "failed":
        return found.error or ""
    trend = "lower" if is_lower(found, base) else "higher" if is_higher(found, base) else "the same"
    idle = found.seeds - found.learning
    told = f"; it does not learn in {idle} of {found.seeds}" if idle else ""
    return (
        f"healthy in {found.healthy} of {found.seeds} seeds (unchanged {base.healthy} of "
        f"{base.seeds}), the loss is {trend}: {number(found.loss)} ({number(base.loss)}){told}"
    )


def left(found: Rank, most: int = 2) -> str:
    """Return the findings that are left, at `most` so many of them, and in how many seeds."""
    told = [f"{kind} {n}/{found.seeds}" for kind, n in found.left.items()]
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more or "healthy"


def losses(found: Rank) -> str:
    """Return the median of the final losses, and their range."""
    if number(found.loss_low) == number(found.loss_high):
        return number(found.loss)
    return f"{number(found.loss)} ({number(found.loss_low)} to {number(found.loss_high)})"


def number(value: float) -> str:
    """Return a number in three digits; what is not finite and what is not known, in a word."""
    if math.isnan(value):
        return ""
    return f"{value:.3g}" if math.isfinite(value) else "not finite"


def decades(value: float) -> str:
    """Return log10 of a ratio, signed."""
    if math.isinf(value):
        return "exactly 0" if value < 0 else "infinite"
    return "" if math.isnan(value) else f"{value:+.1f}"


HEADINGS = ("remedy", "verdict", "findings left", "decades", "final loss", "held out")
HEADED = (
    "decades: log10 of ‖delta_1‖ / ‖delta_L‖, median over steps and seeds; final loss: mean over "
    "the last tenth of the steps, median over seeds (range); held out: accuracy, or loss."
)


def row(found: Rank) -> list[str]:
    """Return a remedy's cells under `HEADINGS`."""
    known = not math.isnan(found.test_accuracy)
    held_out = f"{found.test_accuracy:.1%}" if known else number(found.test_loss)
    verdict = "" if found.verdict == "unchanged" else found.verdict
    name = f"{found.remedy.name} (a pair)" if found.remedy.pair else found.remedy.name
    cells = [name, verdict, left(found), decades(found.decades)]
    return [*cells, losses(found), held_out] if found.verdict != "failed" else [*cells, "", ""]


def story(course: Course) -> Page:
    """Return what a terminal shows of a course."""
    rows = [row(course.base), *map(row, course.ranks)]
    table = PageTable(HEADINGS, rows, prose=False)
    return Page(headline(course), [Section("What was tried", sentences(course), table, [HEADED])])


def healthy(name: str, status: str) -> str:
    """Say that a run has nothing to cure."""
    ended = "healthy" if status == "completed" else f"{status}, and no finding in what it recorded"
    return f"{name} is {ended}: there is nothing to cure"


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
