"""gradlab explain."""

from collections.abc import Sequence
from pathlib import Path

from gradlab.cli.arguments import split
from gradlab.config.compose import compose
from gradlab.errors import SettingsError, nearest

HELP = """\
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
        print(HELP, end="")
        return 0
    topics = [each for each in overrides if "=" not in each and each[:1] not in ("+", "~")]
    settings, how = compose("explain", [each for each in overrides if each not in topics])
    from gradlab.pages.html import write
    from gradlab.pages.story import as_text
    from gradlab.pages.style import printed

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
