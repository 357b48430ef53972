"""gradlab cure."""

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError

HELP = """\
gradlab cure RUN [overrides]  repeat a run that has findings, unchanged and with each remedy that
                              the findings propose; rank the remedies by findings and by loss

RUN is the folder of a run. Overrides:
  cure.seeds                  how many seeds each remedy gets
  cure.steps                  how many steps to train; default: as many as RUN
  cure.dir                    the folder of the page; default: RUN/cure
  cure.remedies               a list of overrides; default: what the findings propose. In quotes:
                              "cure.remedies=['optim=adam','clip=norm optim.lr=0.01']"
and the overrides of gradlab run, which then apply to every training, unchanged ones too.
"""


def cure(arguments: Sequence[str]) -> int:
    """Try remedies on the run in a folder; print and write what came of each."""
    _, given = split(arguments, config="cure")
    if not given:
        raise SettingsError("expected the folder of a run: gradlab cure RUN")
    from gradlab.config.compose import compose
    from gradlab.config.interrupt import Interrupt
    from gradlab.cure import course, cure_page, words
    from gradlab.cure.patient import admit
    from gradlab.cure.trials import Trials
    from gradlab.pages.page import as_text

    folder, *overrides = given
    ours = [each for each in overrides if each.lstrip("+~").startswith("cure.")]
    _, how = compose("cure", ours)
    patient = admit(folder)
    trials = Trials(patient, [each for each in overrides if each not in ours], how)
    findings = course.diagnosed(patient)
    if not course.is_sick(patient, findings):
        print(words.healthy(folder, patient.run.info["status"]))
        return 0
    remedies = course.chosen(trials, findings)
    place = Path(how["dir"] or patient.run.path / "cure")
    cure_page.make_folders(place)
    with Interrupt() as interrupt, _log_to_stderr():
        found = course.course(trials, findings, remedies, lambda: interrupt.requested)
        if found is not None:
            path = cure_page.write_page(found, place)
            print(as_text(words.story(found)))
            if found.best is not None:
                print(f"\n{cure_page.remedy_command(found, found.best)}")
            print(f"\nThe same with figures: {path}")
    interrupt.check()
    return 0


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
