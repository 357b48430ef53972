"""Find the command, call it, and turn errors into one line and an exit code.

The command NAME is the function NAME in `gradlab/cli/NAME.py`; HELP in that file is its help text.
The file is imported only when the command is called, and heavy packages only inside the function.
So every `--help` is instant.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from gradlab.errors import GradlabError, SettingsError, is_of_stream, nearest, printable

HELP = """\
gradlab: a laboratory for gradient pathologies in PyTorch networks

  gradlab run [overrides]      train one network and record the gradients of its layers
  gradlab run -m [sweeps]      train every combination of values, in Hydra's syntax:
                                 gradlab run -m model.depth=5,20 model.activation=sigmoid,relu
  gradlab report DIR           write a report on all runs under DIR: DIR/report/index.html
  gradlab show DIR             print the runs under DIR as a table
  gradlab cure RUN             train a run with findings again with each remedy; rank the remedies
  gradlab check [overrides]    compare gradients by hand, by autograd and by finite differences
  gradlab predict [overrides]  predict signal and gradient of each layer before the training
  gradlab explain [overrides]  explain the chain rule through one weight, factor by factor
  gradlab mistakes [NAME]      show common mistakes in training code, with effect and fix
  gradlab doctor TARGET        find such mistakes in your program. TARGET is FILE.py,
                                 FILE.py:FUNCTION or MODULE:FUNCTION
  gradlab replay DIR TARGET    repeat the last steps before an inf or NaN, which
                                 gradlab.watch(..., black_box=DIR) has stored

An override is KEY=VALUE, such as model.depth=10. gradlab COMMAND --help describes a command.
gradlab run --help lists all keys with their defaults. The flags of gradlab run are Hydra's, such as
--cfg job and --info.
Exit codes: 0 success, 1 a run failed or a check found a mistake, 2 the command or the
configuration is wrong, 130 and 143 interrupted.
"""

COMMANDS = (
    "run",
    "report",
    "show",
    "cure",
    "check",
    "predict",
    "explain",
    "doctor",
    "mistakes",
    "replay",
)
HELP_FLAGS = {"-h", "--help"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; print an expected error as one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _report_errors(arguments, ends=argv is None)
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
            sys.stdout.flush()  # an error can still be reported here
        return code
    except BrokenPipeError:  # the reader has exited, as in `gradlab show DIR | head`
        _drop_output()
        return 0
    except OSError as error:
        if not is_of_stream(error):
            raise
        _drop_output()
        print(f"gradlab: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def _report_errors(arguments: list[str], ends: bool) -> int:
    """Run a command, and print an expected error as one line.

    Args:
        arguments: The words after `gradlab`.
        ends: Whether the process ends afterwards.

    Returns:
        The exit code.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no warning if HOME cannot be written
    try:
        return _dispatch(arguments)
    except GradlabError as error:
        print(f"gradlab: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        if ends:  # packages wait for their processes at the end, and print a traceback at Ctrl-C
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("gradlab: interrupted; all recorded rows are saved", file=sys.stderr)
        return getattr(error, "exit_code", 130)


def _drop_output() -> None:
    """Discard the rest of the output buffer, so that Python's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in (*HELP_FLAGS, "help"):
        print(HELP, end="")
        return 0
    if command == "--version":
        import gradlab

        print(f"gradlab {gradlab.__version__}")
        return 0
    if command in ("-sc", "--shell-completion"):  # the shell calls this: see `gradlab run -sc`
        return _complete(arguments)
    if command not in COMMANDS:
        raise SettingsError(f"{command} is not a command; {nearest(command, COMMANDS)}")
    return _call(command, rest)


def _call(command: str, arguments: list[str]) -> int:
    module = import_module(f"gradlab.cli.{command}")
    before_dashes = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if HELP_FLAGS & {*before_dashes} and command != "run":  # Hydra prints the help of `run`
        print(module.HELP, end="")
        return 0
    return getattr(module, command)(arguments)


def _complete(arguments: list[str]) -> int:
    """Print completions for the shell; Hydra completes the overrides of `run`.

    The shell puts the whole line into COMP_LINE. Hydra expects the line without the word `run`.

    Returns:
        The exit code.
    """
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if words[:1] == ["run"]:
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
        return _call("run", arguments)
    print(" ".join(COMMANDS))
    return 0
