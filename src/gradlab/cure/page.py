"""The page of a course: `index.html`, which opens from disk, `figures/` and `remedies.csv`."""

import base64
from pathlib import Path
from tempfile import TemporaryFile

import jinja2
import pandas as pd

from gradlab.cure import figures, words
from gradlab.cure.course import Course
from gradlab.cure.overrides import command
from gradlab.cure.ranking import Rank
from gradlab.errors import StoreError
from gradlab.pages.numbers import count
from gradlab.pages.style import printed, save


def make_room(folder: Path) -> None:
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


def write(course: Course, folder: Path) -> Path:
    """Write everything; return the page's path.

    Raises:
        StoreError: the folder cannot be written to.
    """
    path = folder / "index.html"
    try:
        table(course).to_csv(folder / "remedies.csv", index=False)
        with printed():
            drawn = figures.draw(course)
            for name, figure in drawn.items():
                save(figure, folder / "figures", name)
        path.write_text(render(course, list(drawn), folder), encoding="utf-8")
    except OSError as error:
        raise _cannot(folder, error) from error
    return path


def render(course: Course, drawn: list[str], folder: Path) -> str:
    """Return the page's HTML, figures included."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlab", "cure"), autoescape=True, trim_blocks=True
    )
    steps = figures.window(course.settings.train.steps)
    pictures = [
        {
            "name": name,
            "caption": figures.CAPTIONS[name].format(steps=count(steps, "step")),
            "png": base64.b64encode((folder / "figures" / f"{name}.png").read_bytes()).decode(),
        }
        for name in drawn
    ]
    ranks = [course.base, *course.ranks]
    return environment.get_template("cure.html.j2").render(
        headline=words.headline(course),
        sentences=words.sentences(course),
        causes=[(f.kind, f.severity, f.cause) for f in course.findings],
        run=course.patient.run.path,
        paste=line(course, course.best) if course.best else None,
        headings=words.HEADINGS,
        headed=words.HEADED,
        rows=[(each.verdict, words.row(each), each.remedy.reason) for each in ranks],
        pictures=pictures,
    )


def line(course: Course, found: Rank) -> str:
    """Return the command that trains the run with a remedy."""
    return command(course.pasted(found.remedy), course.patient.searched)


def table(course: Course) -> pd.DataFrame:
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
            "command": line(course, each),
        }
        for each in [course.base, *course.ranks]
    ]
    return pd.DataFrame(rows)


def _cannot(folder: Path, error: OSError) -> StoreError:
    told = error.strerror or error
    return StoreError(f"{folder} cannot be written: {told}; choose another by cure.dir=FOLDER")
