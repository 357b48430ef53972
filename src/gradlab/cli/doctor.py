"""gradlab doctor."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

HELP = """\
gradlab doctor FILE.py           run a few steps of the training in a script, and print the mistakes
                                 it finds: the line, the evidence, the fix
gradlab doctor FILE.py:FUNCTION  do the same with a function in a file
gradlab doctor MODULE:FUNCTION   do the same with a function in a module
gradlab doctor --catalogue       test the doctor with every mistake of gradlab mistakes, broken and
                                 fixed; --markdown prints the result as a page

FUNCTION takes no arguments. Either it trains, and gradlab stops it after a few steps. Or it returns
(step, model, optimizer, batch): step(model, optimizer, batch) makes one optimizer step, and batch
is one batch or an iterable of batches. gradlab may run it several times.
Exit codes: 0 no mistake found, 1 a mistake found, 2 the command is wrong or nothing trains.
With --catalogue: 0 the doctor finds every mistake and no fixed form, 1 otherwise.
"""


def doctor(arguments: Sequence[str]) -> int:
    """Examine a training; return 1 if a mistake is found."""
    flags, targets = split(arguments, ("--catalogue", "--markdown"))
    if "--catalogue" in flags and not targets:
        return _self_test("--markdown" in flags)
    if flags:
        raise SettingsError(
            "expected --catalogue, with --markdown or without, or a training to examine; "
            f"given {' '.join(arguments)}"
        )
    if len(targets) != 1:
        raise SettingsError(f"expected one MODULE:FUNCTION or FILE.py, given {len(targets)}")
    from gradlab.debugger.code_finding import print_findings
    from gradlab.debugger.entry_point import examine_target

    found = examine_target(targets[0])
    print_findings(found)
    return 1 if found else 0


def _self_test(as_page: bool) -> int:
    """Examine the catalogue; return 1 if a mistake is missed, or a fixed form has a finding."""
    from gradlab.debugger.self_test import print_table, run_self_test, to_markdown
    from gradlab.mistakes.catalogue import CATALOGUE

    results = [run_self_test(mistake) for mistake in CATALOGUE]
    if as_page:
        print(to_markdown(results))
    else:
        print_table(results)
    return 0 if all(result.holds for result in results) else 1
