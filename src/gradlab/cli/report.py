"""The command `gradlab report`."""

from collections.abc import Sequence

from gradlab.cli.arguments import one_folder, report_damaged

HELP = """\
gradlab report DIR            write a page with figures and tables about all runs under DIR:
                              DIR/report/index.html

Exit codes: 0 success, 2 DIR contains no runs, or the report cannot be written.
"""


def report(arguments: Sequence[str]) -> int:
    """Write the report on the runs under a folder, and print its path."""
    folder, _ = one_folder("report", arguments)
    from gradlab.errors import printable
    from gradlab.pages.numbers import count
    from gradlab.report.report_page import write_report

    written = write_report(folder)
    report_damaged(written.damaged)
    print(f"{count(written.runs, 'run')}: {printable(str(written.path))}")
    return 0
