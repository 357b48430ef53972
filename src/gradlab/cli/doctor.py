"""gradlab doctor."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

HELP = """\
gradlab doctor MODULE:FUNCTION   runs a few updates of your own training and says which common
                                 mistakes it shows, where, how it knows, and what to write instead
gradlab doctor FILE.py:FUNCTION  the same of a function in a file
gradlab doctor FILE.py           the same of a script
gradlab doctor --catalogue       all mistakes of the catalogue: measured, and whether it finds them
                                 when broken and is silent when fixed; --markdown: as a page

FUNCTION needs no arguments. It trains by itself, and is stopped after a few updates; or it returns
(step, model, optimizer, batch), where step(model, optimizer, batch) makes an update, and batch is
one batch or an iterable of batches. It may be run several times.
Exit codes: 0 nothing found, 1 something found, 2 the command is wrong or nothing trains.
Of --catalogue: 0 all are found and all fixes left in peace, 1 one is not.
"""


def doctor(arguments: Sequence[str]) -> int:
    """Examine a training; return 1 if a mistake is found."""
    flags, targets = split(arguments, ("--catalogue", "--markdown", "--help", "-h"))
    if {"--help", "-h"} & {*flags}:
        print(HELP, end="")
        return 0
    if "--catalogue" in flags and not targets:
        return _consultations("--markdown" in flags)
    if flags:
        raise SettingsError(
            "expected --catalogue, with --markdown or without, or a training to examine; "
            f"given {' '.join(arguments)}"
        )
    if len(targets) != 1:
        raise SettingsError(f"expected one MODULE:FUNCTION or FILE.py, given {len(targets)}")
    from gradlab.debugger.targets.entry_point import examined
    from gradlab.debugger.terminal import tell

    found = examined(targets[0])
    tell(found)
    return 1 if found else 0


def _consultations(as_page: bool) -> int:
    """Examine the catalogue; return 1 if a mistake is not found, or a fixed form not left alone."""
    from gradlab.debugger.self_test import consult, markdown, table
    from gradlab.mistakes.catalogue import CATALOGUE

    all_of_them = [consult(mistake) for mistake in CATALOGUE]
    if as_page:
        print(markdown(all_of_them))
    else:
        table(all_of_them)
    return 0 if all(one.holds for one in all_of_them) else 1
