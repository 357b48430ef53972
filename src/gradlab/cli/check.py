"""The command `gradlab check`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

HELP = """\
gradlab check [overrides]     compare the gradients of the configured network at initialisation:
                              by hand, by autograd and by finite differences, in float64
  --trade-off                 instead, print the error of finite differences for many step sizes,
                              one- and two-sided, and draw it in the folder check/
  --mutations                 instead, insert 16 mistakes into a backward pass, one at a time, and
                              print which of them the check finds

Overrides: as for gradlab run, and
  check.scheme=two_sided      two_sided or one_sided differences
  check.elements=25           number of elements to check in each array; null: all
  check.tolerance=1e-5        largest accepted relative error
Exit codes: 0 all gradients are right, 1 a gradient is wrong, 2 the command or the configuration is
wrong.
"""


def check(arguments: Sequence[str]) -> int:
    """Check gradients and print the result; return 1 if a gradient is wrong."""
    flags, overrides = split(arguments, ("--trade-off", "--mutations"), "check")
    if "--mutations" in flags:
        from gradlab.gradcheck.hand_written import mutation_table

        if overrides or len(flags) > 1:
            raise SettingsError("--mutations takes no other arguments: it checks fixed networks")
        lines, all_found = mutation_table()
        print("\n".join(lines))
        return 0 if all_found else 1
    from gradlab.config.compose import compose

    settings, section = compose("check", overrides)
    dtype = settings.train.dtype
    if dtype != "float64" and any(each.startswith("train.dtype=") for each in overrides):
        print(
            f"train.dtype={dtype} is not used: gradlab check computes in float64", file=sys.stderr
        )
    from gradlab.data.dataset import load
    from gradlab.gradcheck.gradient_report import Options
    from gradlab.gradcheck.three_ways import check_settings, problem_of

    options = Options(
        section["scheme"], section["elements"], section["tolerance"], seed=settings.seed
    )
    dataset = load(settings)
    if "--trade-off" in flags:
        from gradlab.gradcheck.problem import Problem
        from gradlab.gradcheck.trade_off import save_trade_off, trade_off, trade_off_lines

        model, x, y, loss = problem_of(settings, dataset)
        errors = trade_off(Problem(model, (x,), y, loss, settings.seed), options)
        print("\n".join([*trade_off_lines(errors), str(save_trade_off(errors, Path("check")))]))
        return 0
    result = check_settings(settings, dataset, options)
    print(result)
    return 0 if result.passed else 1
