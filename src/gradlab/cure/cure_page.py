"""The page of a course: `index.html`, which opens from disk, `figures/` and `remedies.csv`."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd

from gradlab.cure import cure_figures, words
from gradlab.cure.course import Course
from gradlab.cure.overrides import command
from gradlab.cure.ranking import Rank
from gradlab.errors import StoreError
from gradlab.pages.html import render
from gradlab.pages.numbers import count
from gradlab.pages.page import Page, PageTable, Section
from gradlab.pages.style import print_style, save_figure

VERDICT_MEANINGS = (
    "cures: most seeds are healthy, and their loss ends at least a tenth below its first value and "
    "below the loss of an output of zeros; it is no higher than unchanged.",
    "helps: fewer findings or a lower loss, and neither is worse; the loss falls this far in most "
    "seeds, or more seeds are healthy.",
    "worse: more findings or a higher loss, and neither is better.",
    "no better: everything else, such as a gain in one and a loss in the other.",
)
LOSS_RULE = (
    "A loss is lower (higher) than unchanged if its median is below (above) the loss of every "
    "unchanged seed, by more than 5%."
)


def make_folders(folder: Path) -> None:
    """Make the folders of the page.

    Raises:
        StoreError: they cannot be written to.
    """
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot(folder, error) from error


def write_page(course: Course, folder: Path) -> Path:
    """Write everything; return the page's path.

    Raises:
        StoreError: the folder cannot be written to.
    """
    path = folder / "index.html"
    try:
        remedy_table(course).to_csv(folder / "remedies.csv", index=False)
        with print_style():
            drawn = cure_figures.draw(course)
            for name, figure in drawn.items():
                save_figure(figure, folder / "figures", name)
        path.write_text(
            render(cure_page(course, list(drawn)), folder / "figures"), encoding="utf-8"
        )
    except OSError as error:
        raise _cannot(folder, error) from error
    return path


def cure_page(course: Course, drawn: Sequence[str]) -> Page:
    """Return the content of the page.

    Args:
        course: the ranked remedies.
        drawn: the names of the figures.

    Returns:
        The page; its sections name the figures.
    """
    steps = count(cure_figures.window(course.settings.train.steps), "step")
    ranks = [course.base, *course.ranks]
    rows = [[*words.row(each), each.remedy.reason] for each in ranks]
    classes = [each.verdict.replace(" ", "-") for each in ranks]
    table = PageTable([*words.HEADINGS, "reason"], rows, row_classes=classes)
    found = [f"{each.kind} ({each.severity}): {each.cause}" for each in course.findings]
    pasted = [Section("Command", code=remedy_command(course, course.best))] if course.best else []
    captions = {name: cure_figures.CAPTIONS[name].format(steps=steps) for name in drawn}
    sections = [
        *pasted,
        Section("Findings of the run", [str(course.patient.run.path)], items=found or ["diverged"]),
        *(
            Section("", figure=name, alt=name, caption=f"{caption} figures/{name}.svg")
            for name, caption in captions.items()
        ),
        Section("All remedies", [words.HEADED, "remedies.csv holds a command for each."], table),
        Section("Verdicts of remedies", items=VERDICT_MEANINGS, after=[LOSS_RULE]),
    ]
    return Page(words.headline(course), sections, words.sentences(course))


def remedy_command(course: Course, found: Rank) -> str:
    """Return the command that trains the run with a remedy."""
    return command(course.pasted(found.remedy), course.patient.searched)


def remedy_table(course: Course) -> pd.DataFrame:
    """Return a row per remedy, the unchanged run first."""
    rows = [
        {
            "remedy": each.remedy.name,
            "verdict": each.verdict,
            "pair": each.remedy.pair,
            "seeds": each.seeds,
            "healthy": each.healthy,
            "learning": each.learning,
            "findings": words.left(each, most=len(each.left)),
            "decades": each.decades,
            "loss": each.loss,
            "loss_low": each.loss_low,
            "loss_high": each.loss_high,
            "test_loss": each.test_loss,
            "test_accuracy": each.test_accuracy,
            "reason": each.remedy.reason,
            "error": each.error,
            "command": remedy_command(course, each),
        }
        for each in [course.base, *course.ranks]
    ]
    return pd.DataFrame(rows)


def _cannot(folder: Path, error: OSError) -> StoreError:
    told = error.strerror or error
    return StoreError(f"{folder} cannot be written: {told}; choose another by cure.dir=FOLDER")
