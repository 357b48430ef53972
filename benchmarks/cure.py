"""How often and how fast `gradlab cure` finds a remedy that works, for the worst runs of a sweep.

python benchmarks/cure.py FOLDER [runs] [overrides of gradlab cure]

Runs that differ only in seed or clipping count once: with the run whose error signal changes most
over depth. Runs that diverged at once, without a signal, come first.
"""

import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from gradlab.cli.main import main as gradlab
from gradlab.report.reduce import reduce_folder
from gradlab.report.run_table import run_table
from gradlab.report.swept_keys import setting_label

IGNORED = ("clip", "seed")


def worst_runs(folder, runs):
    """Return the runs with the largest change of the error signal, a row each, with a setting."""
    frame, keys = run_table(*reduce_folder(folder))
    keys = [key for key in keys if key not in IGNORED]
    unhealthy = frame[~frame["verdict"].isin(["healthy"]) & frame["verdict"].notna()].copy()
    unhealthy["size"] = unhealthy["decades"].abs().fillna(np.inf)
    unhealthy = unhealthy.sort_values("size", ascending=False, kind="stable").drop_duplicates(keys)
    return unhealthy.head(runs).assign(
        setting=lambda t: [setting_label(row, keys) for _, row in t.iterrows()]
    )


def try_remedies(path, overrides):
    """Run `gradlab cure` on a run; return its table of remedies and the seconds that it took."""
    began = time.perf_counter()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        code = gradlab(["cure", str(path), *overrides])
    assert code == 0, f"{path}: exit code {code}"
    return pd.read_csv(path / "cure" / "remedies.csv"), time.perf_counter() - began


def main(folder, runs=10, *overrides) -> None:
    """Print a row per run, and the sum."""
    rows = []
    for _, run in worst_runs(folder, int(runs)).iterrows():
        remedies, seconds = try_remedies(Path(folder) / run["run"], overrides)
        tried = remedies[remedies["verdict"] != "unchanged"]
        best, before = tried.iloc[0], remedies.iloc[0]
        rows.append(
            {
                "run": run["run"],
                "setting": run["setting"],
                "verdict": run["verdict"],
                "decades": run["decades"],
                "tried": len(tried),
                "work": (tried["verdict"] == "works").sum(),
                "best": best["remedy"],
                "its verdict": best["verdict"],
                "loss before": before["loss"],
                "after": best["loss"],
                "seconds": seconds,
            }
        )
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1))
    found = pd.DataFrame(rows)
    print(
        f"\n{(found['its verdict'] == 'works').sum()} of {len(found)} have a remedy that works; "
        f"median {found['seconds'].median():.0f} s a run, {found['seconds'].sum():.0f} s in all"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
