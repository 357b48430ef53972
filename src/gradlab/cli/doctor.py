"""The command `gradlab doctor`."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

HELP = """\
gradlab doctor FILE.py           run a few steps of the training in a script; print each mistake
                                 with its line, the evidence and the fix
gradlab doctor FILE.py:FUNCTION  do the same with a function in a file
gradlab doctor MODULE:FUNCTION   do the same with a function in a module
gradlab doctor --catalogue       test the doctor with every mistake of gradlab mistakes, broken and
                                 fixed; --markdown prints the result as a page

FUNCTION takes no arguments, and a script gets none. FUNCTION trains, and gradlab stops it after a
few steps. Or it returns (step, model, optimizer, batch): step(model, optimizer, batch) makes one
optimizer step, and batch is one batch or an iterable of batches. gradlab may run the training
several times.
Exit codes: 0 no mistake found, 1 a mistake found, 2 the command is wrong or
the training makes no update.
With --catalogue: 0 the doctor finds every mistake and reports nothing for the
fixed forms, 1 otherwise.
"""
FLAGS = ("--catalogue", "--markdown")


def doctor(arguments: Sequence[str]) -> int:
    """Examine a training program and print its mistakes; return 1 if there are any."""
    program, *rest = arguments or [""]
    if rest and program.partition(":")[0].endswith(".py") and rest[0] not in FLAGS:
        raise SettingsError(
            f"gradlab doctor passes no arguments to a program, given {' '.join(rest)}: set them in "
            f"a function without arguments, and examine {program.partition(':')[0]}:FUNCTION"
        )
    flags, targets = split(arguments, FLAGS)
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

    findings = examine_target(targets[0])
    print_findings(findings)
    return 1 if findings else 0


def _self_test(as_page: bool) -> int:
    """Examine the catalogue; return 1 if a mistake is missed or a fixed form has a finding."""
    from gradlab.debugger.self_test import print_table, run_self_test, to_markdown
    from gradlab.mistakes.catalogue import CATALOGUE

    results = [run_self_test(mistake) for mistake in CATALOGUE]
    if as_page:
        print(to_markdown(results))
    else:
        print_table(results)
    return 0 if all(result.holds for result in results) else 1
