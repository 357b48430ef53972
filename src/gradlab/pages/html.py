"""A story as files: `index.html`, which opens from disk without a network, and its figures."""

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from gradlab.errors import StoreError
from gradlab.pages.page import Page
from gradlab.pages.style import save


def write(story: Page, figures: Mapping[str, Figure], folder: Path, markdown: bool = False) -> Path:
    """Write the page and its figures (png and svg) to `folder`; return the page's path.

    With `markdown`, `index.md` too.

    Raises:
        StoreError: the folder cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlab", "pages"), autoescape=True, trim_blocks=True
    )
    path = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save(figure, folder, name)
        pictures = {
            name: base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
            for name in figures
        }
        page = environment.get_template("page.html.j2").render(story=story, pictures=pictures)
        path.write_text(page, encoding="utf-8")
        if markdown:
            text = as_markdown(story, {name: f"{name}.png" for name in figures})
            path.with_suffix(".md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return path


def as_markdown(story: Page, pictures: Mapping[str, str]) -> str:
    """Return the story in Markdown; `pictures` are the figures' files by name."""
    parts = [f"# {story.title}"]
    for section in story.sections:
        parts += [f"## {section.heading}", *section.before]
        if section.table is not None:
            rows = [
                section.table.headings,
                ["---"] * len(section.table.headings),
                *section.table.rows,
            ]
            parts.append("\n".join(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows))
        if section.figure is not None and section.figure in pictures:
            parts.append(f"![{section.heading}]({pictures[section.figure]})")
        parts += section.after
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
