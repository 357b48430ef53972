"""The command `gradlab replay`."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError, printable

HELP = """\
gradlab replay FOLDER FILE.py:FUNCTION   repeat the steps before an inf or NaN that
                                         gradlab.watch(..., black_box=FOLDER) has stored
gradlab replay FOLDER MODULE:FUNCTION    do the same with a function in a module

FUNCTION takes no arguments, and returns (step, model, optimizer, batch), as for gradlab doctor:
step(model, optimizer, batch) makes one update. gradlab restores weights, buffers, optimiser state
and random states, and gives the stored inputs to the calls of the model and of torch functions. So
the values of batch do not matter, only its form. Nothing in FOLDER is executed. FUNCTION runs
without a sandbox, as in python FILE.py.
The output compares the losses and gradient norms with the recorded ones, to the bit. It lists the
operations around the fault with the ranges of their inputs and outputs, and then the finding.
Exit codes: 0 every number is finite, 1 the repetition has the fault, 2 the command is wrong, or the
steps cannot be repeated.
"""


def replay(arguments: Sequence[str]) -> int:
    """Repeat the stored steps and print the result; return 1 if they have a fault."""
    _, others = split(arguments)
    if len(others) != 2 or ":" not in others[1]:
        raise SettingsError(
            "expected a folder and FILE.py:FUNCTION or MODULE:FUNCTION, given "
            f"{' '.join(others) or 'nothing'}"
        )
    folder, target = others
    from gradlab.black_box.black_box_folder import read_recording
    from gradlab.debugger.entry_point import load_function
    from gradlab.debugger.repeated_steps import replay as repeat

    read_recording(folder)  # a wrong folder is an error before the program runs
    result = repeat(folder, load_function(target))
    print("\n".join(printable(line) for line in str(result).split("\n")))
    return 0 if result.fault is None else 1
