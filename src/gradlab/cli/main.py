"""The commands. Each imports what it needs when it is called, so that help is instant."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from gradlab.cli.arguments import split
from gradlab.errors import GradlabError, SettingsError, is_of_stream, nearest

HELP = """\
gradlab: a laboratory for gradient pathologies in PyTorch networks

  gradlab run [overrides]      train one network and record its gradients
  gradlab run -m [sweeps]      the same for every combination, in Hydra's syntax:
                                 gradlab run -m model.depth=5,20 model.activation=sigmoid,relu
  gradlab report DIR           everything under DIR -> DIR/report/index.html, figures/, tables/
  gradlab show DIR             the runs under DIR as a table
    --over-seeds                 a row per setting: verdicts, medians and ranges over its seeds
  gradlab cure RUN             train a sick run again with each remedy, and rank the remedies
  gradlab check [overrides]    its gradients by hand, by autograd, by finite differences
  gradlab predict [overrides]  what theory says of it, layer by layer, without training
  gradlab explain [overrides]  the chain rule through one weight, factor by factor
  gradlab mistakes [NAME]      common mistakes in backpropagation, run, measured and fixed
  gradlab doctor TARGET        such mistakes in your own training: FILE.py or MODULE:FUNCTION

gradlab run --help lists the configuration; --cfg job, --info and Hydra's other flags work as ever.
Exit codes: 0 done, 1 a run failed, 2 the command or the configuration is wrong,
130 and 143 interrupted.
"""

OVER_SEEDS = "--over-seeds"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _told(arguments)
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
            sys.stdout.flush()  # here, where it can still be told that it cannot be written
        return code
    except BrokenPipeError:  # the reader of our output has gone, as in `gradlab show DIR | head`
        _drop_output()
        return 0
    except OSError as error:
        if not is_of_stream(error):
            raise
        _drop_output()
        print(f"gradlab: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def _told(arguments: list[str]) -> int:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it has words for a missing home
    try:
        return _dispatch(arguments)
    except GradlabError as error:
        print(f"gradlab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        print("gradlab: interrupted; what was recorded is complete", file=sys.stderr)
        return getattr(error, "exit_code", 130)


def _drop_output() -> None:
    """Send what is left in the buffer nowhere, so that Python's own last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if command == "--version":
        from importlib.metadata import version

        print(f"gradlab {version('gradlab')}")
        return 0
    if command in ("-sc", "--shell-completion"):  # asked by the shell: see `gradlab run -sc`
        return _complete(arguments)
    if command not in COMMANDS:
        raise SettingsError(f"{command} is not a command; {nearest(command, COMMANDS)}")
    return COMMANDS[command](rest)


def _run(arguments: list[str]) -> int:
    from gradlab.runs.sweep import run

    logging.raiseExceptions = False  # a log on a full disk is no reason for a traceback
    return run(arguments)


def _complete(arguments: list[str]) -> int:
    """Answer the shell, which asks the program alone: `run` is taken out of the line it sends."""
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if words[:1] == ["run"]:
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
        return _run(arguments)
    print(" ".join(COMMANDS))
    return 0


def _report(arguments: list[str]) -> int:
    from gradlab.pages.numbers import count
    from gradlab.report.report_page import write_report

    folder, _ = _folder("report", arguments)
    report = write_report(folder)
    _leave_out(report.damaged)
    print(f"{count(report.runs, 'run')}: {report.path}")
    return 0


def _show(arguments: list[str]) -> int:
    from gradlab.report.run_table import show_runs

    folder, flags = _folder("show", arguments, OVER_SEEDS)
    _leave_out(show_runs(folder, seeds=OVER_SEEDS in flags))
    return 0


def _leave_out(damaged: Sequence[str]) -> None:
    for line in damaged:
        print(f"left out: {line}", file=sys.stderr)


def _folder(command: str, arguments: list[str], *own: str) -> tuple[str, list[str]]:
    """Return the one folder among the arguments, and the flags: the command's own."""
    flags, folders = split(arguments, (*own, "-h", "--help"))
    if {"-h", "--help"} & {*flags}:
        print(HELP, end="")
        raise SystemExit(0)
    if len(folders) != 1:
        raise SettingsError(f"expected one folder, given {len(folders)}: gradlab {command} DIR")
    return folders[0], flags


def _check(arguments: list[str]) -> int:
    from gradlab.cli.check import check

    return check(arguments)


def _cure(arguments: list[str]) -> int:
    from gradlab.cli.cure import cure

    return cure(arguments)


def _doctor(arguments: list[str]) -> int:
    from gradlab.cli.doctor import doctor

    return doctor(arguments)


def _explain(arguments: list[str]) -> int:
    from gradlab.cli.explain import explain

    return explain(arguments)


def _mistakes(arguments: list[str]) -> int:
    from gradlab.cli.mistakes import mistakes

    return mistakes(arguments)


def _predict(arguments: list[str]) -> int:
    from gradlab.cli.predict import predict

    return predict(arguments)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "report": _report,
    "show": _show,
    "cure": _cure,
    "check": _check,
    "predict": _predict,
    "explain": _explain,
    "doctor": _doctor,
    "mistakes": _mistakes,
}
