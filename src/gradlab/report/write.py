"""`gradlab report`: everything under a folder to `report/index.html`, `figures/` and `tables/`."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gradlab.errors import StoreError
from gradlab.report import cells, factors, figures, modules, over_seeds, page, prediction
from gradlab.report.reduce import Reduced, gather
from gradlab.report.table import causes, shown, table


@dataclass(frozen=True)
class Report:
    """What was written: the page, how many runs it covers, and what was left out of it."""

    path: Path
    runs: int
    damaged: list[str]


def write(folder: str | Path) -> Report:
    """Read every run under `folder` and write `folder/report`.

    Raises:
        StoreError: no run can be read, or the report cannot be written.
    """
    runs, reduced = gather(folder)
    frame, keys = table(runs, reduced)
    root = Path(folder) / "report"
    try:
        for part in ("figures", "tables"):
            (root / part).mkdir(parents=True, exist_ok=True)
        theory = prediction.join(runs, reduced).merge(frame[["run", *keys, "seed"]], on="run")
        tables = _tables(frame, keys, reduced, theory) | {"causes": causes(runs)}
        watched = modules.table(runs, reduced.layers)
        tables |= {} if watched.empty else {"modules": watched}
        for name, content in tables.items():
            content.to_csv(root / "tables" / f"{name}.csv", index=False)
        networks = prediction.distinct(theory, keys)
        drawn = figures.draw(
            runs, frame, keys, reduced, networks, tables["theory"], root / "figures"
        )
        path = root / "index.html"
        html = page.render(
            frame, keys, drawn, tables["settings"], tables["theory"], watched, reduced.damaged, root
        )
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{root} cannot be written: {error.strerror or error}") from error
    return Report(path, len(frame), reduced.damaged)


def _tables(
    frame: pd.DataFrame, keys: list[str], reduced: Reduced, theory: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    named = reduced.layers.merge(frame[["run", *keys, "seed"]], on="run")
    return {
        "runs": shown(frame, keys),
        "settings": over_seeds.over_seeds(frame, keys),
        "profiles": named,
        "decades": cells.by_setting(frame, keys),
        "factors": factors.per_layer(named, keys),
        "theory": prediction.residuals(
            prediction.distinct(theory, keys), prediction.of_model(keys)
        ),
        "theory_by_layer": theory,
    }
