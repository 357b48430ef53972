"""The command `gradlab run`."""

import logging
from collections.abc import Sequence

HELP = """\
gradlab run [overrides]       train one network and record the gradients of its layers
gradlab run -m [sweeps]       train every combination of values: model.depth=5,20 seed=0,1

Hydra prints the full help: gradlab run --help.
"""


def run(arguments: Sequence[str]) -> int:
    """Train one network or a sweep; return 1 if a run failed."""
    from gradlab.runs import sweep

    logging.raiseExceptions = False  # a log on a full disk must not print a traceback
    return sweep.run(arguments)
