"""The command `gradlab cure`."""

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

TRUST, CONFIG_DIR = "--trust-config", ("-cd", "--config-dir")
HELP = f"""\
gradlab cure RUN [overrides]  train a run with findings again, unchanged and with each remedy that
                              the findings propose; rank the remedies by findings and by loss

RUN is the folder of a run. Overrides:
  cure.seeds=3                number of seeds for each remedy
  cure.steps=null             number of steps of each training; null: as many as RUN
  cure.dir=null               folder of the page; null: RUN/cure
  cure.remedies=null          list of remedies; null: the proposals of the findings. In quotes:
                              "cure.remedies=['optim=adam','clip=norm optim.lr=0.01']"
and the overrides of gradlab run, which then apply to every training, the unchanged one too.

gradlab cure executes no code in RUN. If the run used choices of yours, such as a model, name their
folder:
  -cd, --config-dir DIR       folder of your choices, as in gradlab run
  {TRUST}              use the folders and the code that the configuration of RUN names

Exit codes: 0 success, also if no remedy helps; 1 a training failed; 2 the command is wrong.
"""


def cure(arguments: Sequence[str]) -> int:
    """Try remedies on the run in a folder; print the result and write a page."""
    folders, rest = _config_folders(arguments)
    flags, words = split(rest, [TRUST], config="cure")
    if not words:
        raise SettingsError("expected the folder of a run: gradlab cure RUN")
    from gradlab.config.compose import compose
    from gradlab.config.interrupt import Interrupt
    from gradlab.cure import cure_page
    from gradlab.cure.comparison import RemedyTrainer, compare
    from gradlab.cure.examined_run import kinds, open_run
    from gradlab.pages.page import as_text

    folder, *overrides = words
    own = [each for each in overrides if each.lstrip("+~").startswith("cure.")]
    _, options = compose("cure", own)
    run = open_run(folder, folders, trusted=TRUST in flags)
    trainer = RemedyTrainer(run, [each for each in overrides if each not in own], options)
    findings = run.diagnose()
    if not kinds(findings, run.diverged):
        print(cure_page.no_remedy_needed(folder, run.status, findings.verdict))
        return 0
    remedies = trainer.choose_remedies(findings)
    page_folder = Path(options["dir"] or run.files.path / "cure")
    cure_page.check_writable(page_folder)
    with Interrupt() as interrupt, _log_to_stderr():
        comparison = compare(trainer, findings, remedies, lambda: interrupt.requested)
        if comparison is not None:
            path = cure_page.write_page(comparison, page_folder)
            print(as_text(cure_page.terminal_page(comparison)))
            if comparison.best is not None:
                print(f"\n{cure_page.remedy_command(comparison, comparison.best)}")
            print(f"\nThe same with figures: {path}")
    interrupt.check()
    return 0


def _config_folders(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the flags `-cd DIR` out of the arguments.

    Returns:
        The entries for Hydra's search path, and the other arguments.
    """
    entries: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in CONFIG_DIR:
            rest.append(word)
            continue
        folder = Path(value if equals else next(words, "DIR"))
        if not folder.is_dir():
            raise SettingsError(f"{flag}: expected a folder of your choices, given {folder}")
        entries.append(f"file://{folder.resolve()}")
    return entries, rest


@contextmanager
def _log_to_stderr() -> Generator[None]:
    """Print gradlab's progress messages on stderr."""
    logger, handler = logging.getLogger("gradlab"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
