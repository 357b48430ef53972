"""What commands do that need no job: from their arguments to what they print."""

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradlab.compose import compose
from gradlab.errors import SettingsError, nearest
from gradlab.flags import split

CHECK_HELP = """\
gradlab check [overrides]     gradients of the configured network at initialisation, three ways:
                              by hand, by autograd, by finite differences
  --trade-off                 error against step, one- and two-sided: a table; a figure in check/
  --mutations                 16 mistakes in a backward pass: which are caught, and where

Overrides: those of gradlab run, and check.scheme, check.elements, check.tolerance.
Exit codes: 0 all gradients are right, 1 one is wrong, 2 the command or the configuration is wrong.
"""


def check(arguments: Sequence[str]) -> int:
    """Print a gradient check; return 1 if a gradient is wrong."""
    flags, overrides = split(arguments, ("--trade-off", "--mutations", "--help", "-h"))
    if {"--help", "-h"} & {*flags}:
        print(CHECK_HELP, end="")
        return 0
    if "--mutations" in flags:
        from gradlab.check.bugs import table

        if overrides or len(flags) > 1:
            raise SettingsError("expected nothing beside --mutations: its networks are its own")
        lines, right = table()
        print("\n".join(lines))
        return 0 if right else 1
    settings, how = compose("check", overrides)
    from gradlab.check.configured import check_settings, problem_of
    from gradlab.check.row import Options
    from gradlab.data.dataset import load

    options = Options(how["scheme"], how["elements"], how["tolerance"], seed=settings.seed)
    dataset = load(settings)
    if "--trade-off" in flags:
        from gradlab.check.problem import Problem
        from gradlab.check.trade_off import told, trade_off
        from gradlab.report.trade_off import draw_to

        model, x, y, loss = problem_of(settings, dataset)
        found = trade_off(Problem(model, (x,), y, loss, settings.seed), options)
        print("\n".join([*told(found), str(draw_to(found, Path("check")))]))
        return 0
    result = check_settings(settings, dataset, options)
    print(result)
    return 0 if result.passed else 1


EXPLAIN_HELP = """\
gradlab explain [overrides]   the chain rule through one weight of one prediction, factor by factor;
                              then who carries the blame, and what one gradient step does
gradlab explain activations   each activation and its derivative: an atlas
gradlab explain losses        the same of the losses

Overrides: those of gradlab run, and explain.sample, explain.layer, explain.weight=[from,to],
explain.after (steps of training before the story), explain.dir (where the page goes).
Try: gradlab explain model.activation=sigmoid model.depth=10
"""


def explain(arguments: Sequence[str]) -> int:
    """Tell the chain rule through one weight, in the terminal and as a page; or write an atlas."""
    flags, overrides = split(arguments, ("--help", "-h"))
    if flags:
        print(EXPLAIN_HELP, end="")
        return 0
    topics = [each for each in overrides if "=" not in each and each[:1] not in ("+", "~")]
    settings, how = compose("explain", [each for each in overrides if each not in topics])
    from gradlab.explain.page import write
    from gradlab.explain.story import as_text
    from gradlab.report.style import printed

    folder = Path(how["dir"])
    if topics:
        from gradlab.explain.atlas import ATLASES

        if topics[0] not in ATLASES or len(topics) > 1:
            raise SettingsError(
                f"{' '.join(topics)} is not an atlas; {nearest(topics[0], ATLASES)}"
            )
        with printed():
            story, atlas = ATLASES[topics[0]]()
            path = write(story, {"atlas": atlas}, folder / topics[0], markdown=True)
    else:
        from gradlab.data.dataset import load
        from gradlab.explain import figures
        from gradlab.explain.subject import subject
        from gradlab.explain.tell import tell

        found = subject(settings, load(settings), how)
        story = tell(found)
        with printed():
            drawn = {"network": figures.network(found)}
            if len(found.sample.layers) > 1:
                drawn["decades"] = figures.signal(found)
            path = write(story, drawn, folder)
    print(as_text(story))
    print(f"\nThe same with its figure: {path}")
    return 0


PREDICT_HELP = """\
gradlab predict [overrides]   what mean-field theory says of the configured network, layer by layer,
                              without training: geometric means and spread over networks

Overrides: those of gradlab run.
"""


def predict(arguments: Sequence[str]) -> int:
    """Print the prediction for a plain network, and its phase."""
    flags, overrides = split(arguments, ("--help", "-h"))
    if flags:
        print(PREDICT_HELP, end="")
        return 0
    settings, _ = compose("config", overrides)
    from gradlab.data.dataset import load
    from gradlab.theory.configured import prediction
    from gradlab.theory.table import table, told

    dataset = load(settings)
    rms = float(dataset.x_train.square().mean().sqrt())
    frame, phase = prediction(settings, dataset.x_train.shape[1], dataset.n_out, rms)
    print("\n".join([*table(frame), "", *told(frame, phase)]))
    return 0


CURE_HELP = """\
gradlab cure RUN [overrides]  train a sick run again with each remedy that its findings propose, and
                              unchanged; rank what came of it, by findings and by loss

Overrides: cure.seeds (of each remedy), cure.steps, cure.dir (for the page; else RUN/cure),
"cure.remedies=['optim=adam','clip=norm optim.lr=0.01']" (else what the findings propose), and those
of gradlab run, which then hold for every trial, unchanged ones too.
"""


def cure(arguments: Sequence[str]) -> int:
    """Try remedies on the run in a folder; print and write what came of each."""
    flags, given = split(arguments, ("--help", "-h"))
    if flags:
        print(CURE_HELP, end="")
        return 0
    if not given:
        raise SettingsError("expected the folder of a run: gradlab cure RUN")
    from gradlab.cure import course, page, words
    from gradlab.cure.patient import admit
    from gradlab.cure.trials import Trials
    from gradlab.explain.story import as_text
    from gradlab.interrupt import Interrupt

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
    page.make_room(place)
    with Interrupt() as interrupt, _aloud():
        found = course.course(trials, findings, remedies, lambda: interrupt.asked)
        if found is not None:
            path = page.write(found, place)
            print(as_text(words.story(found)))
            if found.best is not None:
                print(f"\n{page.line(found, found.best)}")
            print(f"\nThe same with figures: {path}")
    interrupt.check()
    return 0


MISTAKES_HELP = """\
gradlab mistakes              common mistakes in backpropagation: each is run broken and fixed, and
                              measured
gradlab mistakes NAME         one of them: what people write, what happens, why, the fix, the proof
  --markdown                  the whole catalogue as a page

Exit codes: 0 all proofs hold, 1 one does not, 2 the command is wrong.
"""


def mistakes(arguments: Sequence[str]) -> int:
    """Run the catalogue, or one mistake of it; return 1 if a proof does not hold."""
    flags, names = split(arguments, ("--markdown", "--help", "-h"))
    if {"--help", "-h"} & {*flags}:
        print(MISTAKES_HELP, end="")
        return 0
    if len(names) + len(flags) > 1:
        raise SettingsError(
            f"expected at most one of NAME and --markdown, given {' '.join(arguments)}"
        )
    from gradlab.mistakes.catalogue import CATALOGUE
    from gradlab.mistakes.markdown import markdown
    from gradlab.mistakes.page import page
    from gradlab.mistakes.proof import prove
    from gradlab.mistakes.table import table

    known = {mistake.name: mistake for mistake in CATALOGUE}
    for name in names:
        if name not in known:
            raise SettingsError(f"{name} is not a mistake of the catalogue; {nearest(name, known)}")
    proofs = [prove(known[name]) for name in names or known]
    if names:
        page(proofs[0])
    elif flags:
        print(markdown(proofs))
    else:
        table(proofs)
    return 0 if all(proof.holds for proof in proofs) else 1


DOCTOR_HELP = """\
gradlab doctor MODULE:FUNCTION   runs a few updates of your own training and says which common
                                 mistakes it shows, where, how it knows, and what to write instead
gradlab doctor FILE.py:FUNCTION  the same of a function in a file
gradlab doctor FILE.py           the same of a script
gradlab doctor --catalogue       all mistakes of the catalogue: measured, and whether it finds them
                                 when broken and is silent when fixed; --markdown: as a page

FUNCTION needs no arguments. It trains by itself, and is stopped after a few updates; or it returns
(step, model, optimizer, batch), where step(model, optimizer, batch) makes an update, and batch is
one batch or an iterable of batches. It may be run several times.
Exit codes: 0 nothing found, 1 something found, 2 the command is wrong or nothing trains.
Of --catalogue: 0 all are found and all fixes left in peace, 1 one is not.
"""


def doctor(arguments: Sequence[str]) -> int:
    """Examine a training; return 1 if a mistake is found."""
    flags, targets = split(arguments, ("--catalogue", "--markdown", "--help", "-h"))
    if {"--help", "-h"} & {*flags}:
        print(DOCTOR_HELP, end="")
        return 0
    if "--catalogue" in flags and not targets:
        return _consultations("--markdown" in flags)
    if flags:
        raise SettingsError(
            "expected --catalogue, with --markdown or without, or a training to examine; "
            f"given {' '.join(arguments)}"
        )
    if len(targets) != 1:
        raise SettingsError(f"expected one MODULE:FUNCTION or FILE.py, given {len(targets)}")
    from gradlab.examination.entry import examined
    from gradlab.examination.told import tell

    found = examined(targets[0])
    tell(found)
    return 1 if found else 0


def _consultations(as_page: bool) -> int:
    """Examine the catalogue; return 1 if a mistake is not found, or a fixed form not left alone."""
    from gradlab.examination.catalogue import consult, markdown, table
    from gradlab.mistakes.catalogue import CATALOGUE

    all_of_them = [consult(mistake) for mistake in CATALOGUE]
    if as_page:
        print(markdown(all_of_them))
    else:
        table(all_of_them)
    return 0 if all(one.holds for one in all_of_them) else 1


@contextmanager
def _aloud() -> Generator[None]:
    """Say on stderr how far a long command is."""
    logger, handler = logging.getLogger("gradlab"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
