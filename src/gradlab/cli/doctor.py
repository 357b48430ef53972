"""The command `gradlab doctor`."""

import os
import sys
from collections.abc import Mapping, Sequence
from math import inf

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError, nearest

HELP = """\
gradlab doctor FILE.py           run the training of a script for 8 updates; print each mistake with
                                 its line, the evidence and correct code
gradlab doctor FILE.py:FUNCTION  do the same with a function in a file
gradlab doctor MODULE:FUNCTION   do the same with a function in a module

FUNCTION takes no arguments, and a script gets none. FUNCTION trains, and gradlab stops it after 8
updates. Or it returns (step, model, optimizer, batch): step(model, optimizer, batch) makes one
update, and batch is one batch or an iterable of batches. gradlab may run the training several
times.

The program runs in a sandbox: it sees all files and cannot change them. Each run of the program
starts from the same files. Limits of each run:
  --time SECONDS                 time; default: 600
  --memory GIB                   memory; default: the free memory
  --disk GIB                     size of the files that the program writes; default: 10
  --network                      let the program use the network
  --sandbox NAME                 overlay, bwrap, landlock or copy; default: the first that works
  --trust                        run it even if the sandbox protects only the working folder

gradlab doctor --catalogue       examine every mistake of gradlab mistakes, in its broken and in its
                                 fixed form
  --markdown                     print the result as a page

Exit codes: 0 no mistake found; 1 a mistake found; 2 the command is wrong, or the training makes no
update or fails. With --catalogue: 0 the doctor finds every mistake and no other, 1 otherwise.
"""
FLAGS = ("--catalogue", "--markdown", "--network", "--trust")
OPTIONS = {
    "--time": "SECONDS, a positive number",
    "--memory": "GIB, a positive number",
    "--disk": "GIB, a positive number",
    "--sandbox": "overlay, bwrap, landlock or copy",
}


def doctor(arguments: Sequence[str]) -> int:
    """Examine a training program and print its mistakes; return 1 if there are any."""
    values, arguments = _values(arguments)
    program, *rest = [each for each in arguments if each not in FLAGS] or [""]
    if rest and program.partition(":")[0].endswith(".py"):
        raise SettingsError(
            f"gradlab doctor passes no arguments to a program, given {' '.join(rest)}: set them in "
            f"a function without arguments, and examine {program.partition(':')[0]}:FUNCTION"
        )
    flags, targets = split(arguments, FLAGS)
    if "--catalogue" in flags and not targets:
        return _self_test("--markdown" in flags)
    if {"--catalogue", "--markdown"} & {*flags}:
        raise SettingsError(
            "expected --catalogue, with --markdown or without, or a training to examine; "
            f"given {' '.join(arguments)}"
        )
    if len(targets) != 1:
        raise SettingsError(f"expected one MODULE:FUNCTION or FILE.py, given {len(targets)}")
    if not hasattr(os, "fork"):
        raise SettingsError(
            "gradlab doctor needs Linux or macOS for its sandbox; on this system, call "
            "gradlab.doctor(step, model, optimizer, batch) in Python"
        )
    return _examine(targets[0], values, flags)


def _values(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options with their values, and the other arguments.

    Raises:
        SettingsError: an option lacks its value.
    """
    values: dict[str, str] = {}
    others: list[str] = []
    waiting = [*arguments]
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name not in OPTIONS:
            others.append(name + equals + value)
            continue
        if not equals and not waiting:
            raise SettingsError(f"expected a value after {name}: {OPTIONS[name]}")
        values[name] = value if equals else waiting.pop(0)
    return values, others


def _examine(target: str, values: Mapping[str, str], flags: Sequence[str]) -> int:
    """Examine a program in the sandbox; return 1 if it has mistakes."""
    from gradlab.config.interrupt import Interrupted
    from gradlab.debugger.code_finding import print_findings
    from gradlab.debugger.sandbox.limits import GIB, Limits, free_memory
    from gradlab.debugger.sandbox.mechanisms import NAMES
    from gradlab.debugger.sandbox.session import examine_in_sandbox

    sandbox = values.get("--sandbox")
    if sandbox is not None and sandbox not in NAMES:
        raise SettingsError(f"{sandbox} is not a sandbox; {nearest(sandbox, NAMES)}")
    memory = int(_number(values, "--memory", 0.0) * GIB)
    limits = Limits(
        _number(values, "--time", 600.0),
        memory or free_memory(),
        int(_number(values, "--disk", 10.0) * GIB),
    )
    try:
        result = examine_in_sandbox(
            target,
            limits,
            network="--network" in flags,
            trust="--trust" in flags,
            sandbox=sandbox,
        )
    except Interrupted as signal:
        print(f"gradlab: interrupted by {signal}; no file was changed", file=sys.stderr)
        return signal.exit_code
    print(f"sandbox: the program {result.sandbox}", file=sys.stderr)
    print_findings(result.findings)
    return 1 if result.findings else 0


def _number(values: Mapping[str, str], name: str, default: float) -> float:
    """Return the value of an option as a number.

    Raises:
        SettingsError: it is not a positive number.
    """
    try:
        number = float(values.get(name, default))
    except ValueError:
        number = -1.0
    if name in values and not 0 < number < inf:
        raise SettingsError(f"expected {name} {OPTIONS[name]}, given {values[name]}")
    return number


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
