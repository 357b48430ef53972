"""Write a page as `index.html` with its figures. The page needs no network."""

import base64
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from gradlab.pages.output_folder import new_folder
from gradlab.pages.page import Page, PageTable, as_html, as_markdown
from gradlab.pages.style import save_figure, verdict_tints


def write(page: Page, figures: Mapping[str, Figure], folder: Path, markdown: bool = False) -> Path:
    """Write a page, and each figure as PNG and SVG.

    Args:
        page: the content.
        figures: the figures by name. A section shows the figure that it names.
        folder: the folder; it is made, or replaced if it has only files that gradlab wrote.
        markdown: whether to write `index.md` too.

    Returns:
        The path of `index.html`.

    Raises:
        StoreError: the folder has other files, or cannot be written.
    """
    with new_folder(folder) as new:
        for name, figure in figures.items():
            save_figure(figure, new, name)
        (new / "index.html").write_text(render(page, new), encoding="utf-8")
        if markdown:
            text = as_markdown(page, {name: f"{name}.png" for name in figures})
            (new / "index.md").write_text(text, encoding="utf-8")
    return folder / "index.html"


def render(page: Page, figures: Path) -> str:
    """Return a page as one HTML document that contains its figures.

    Args:
        page: the content.
        figures: the folder of the PNG files that the sections name.

    Returns:
        The HTML document; every text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlab", "pages"), autoescape=True, trim_blocks=True
    )
    files = {each.figure: figures / f"{each.figure}.png" for each in page.sections if each.figure}
    pictures = {
        name: base64.b64encode(file.read_bytes()).decode()
        for name, file in files.items()
        if file.exists()
    }
    return environment.get_template("page.html.j2").render(
        page=page,
        pictures=pictures,
        table=_table,
        tints=verdict_tints(),
        version=version("gradlab"),
    )


def _table(table: PageTable) -> Markup:
    return Markup(as_html(table))
