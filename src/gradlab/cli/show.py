"""The command `gradlab show`."""

from collections.abc import Sequence

from gradlab.cli.arguments import one_folder, report_damaged

OVER_SEEDS = "--over-seeds"
HELP = f"""\
gradlab show DIR              print the runs under DIR as a table, with a row for each run
  {OVER_SEEDS}                print a row for each setting instead, with the verdicts, medians and
                              ranges over its seeds

Exit codes: 0 success, 2 DIR contains no runs.
"""


def show(arguments: Sequence[str]) -> int:
    """Print the runs under a folder as a table."""
    folder, flags = one_folder("show", arguments, [OVER_SEEDS])
    from gradlab.report.run_table import show_runs

    report_damaged(show_runs(folder, seeds=OVER_SEEDS in flags))
    return 0
